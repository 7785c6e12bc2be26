"""Whatever becomes of a write and of its answer, in the end everything is there, once; and nothing is sent blindly."""

from __future__ import annotations

import functools
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from stories import begin
from ward import OPEN_APPOINTMENTS, OPEN_PLANS, OURS, Ward

from afterdose.sandbox import Behaviour, faults
from afterdose.sandbox.faults import Fault, LoggedRequest

pytestmark = pytest.mark.faults

DEADLINE = "500ms"
FAULTS: dict[str, Callable[[], Fault]] = {
    "carried out, no answer": faults.commit_then_drop,
    "carried out, 502": lambda: faults.commit_then_status(502),
    "carried out, 409": lambda: faults.commit_then_status(409),
    "carried out, half an answer": faults.truncate_body,
    "carried out, too late": lambda: faults.timeout(1.0),
    "not carried out, no answer": faults.drop,
    "not carried out, a web page": faults.html_200,
    "not carried out, 500": lambda: faults.status(500),
    "not carried out, 503": lambda: faults.retry_after(7, 503),
    "not carried out, 429": lambda: faults.retry_after(7),
    "not carried out, 409": lambda: faults.status(409),
    "not carried out, 412": lambda: faults.status(412),
}
USUAL, SINGLE = Behaviour(), Behaviour(transaction="undeclared")


@dataclass(frozen=True)
class Write:
    """A write of the main line: when it happens, how it is recognised, and what has to be asked before another try."""

    story: str
    method: str
    path: str
    asks: tuple[str, ...]
    behaviour: Behaviour = USUAL


WRITES = {
    "the first transaction": Write(
        "first dose", "POST", "/fhir$", (r"GET /fhir/Appointment\?identifier", r"GET /fhir/CarePlan\?identifier")
    ),
    "a transaction that amends": Write(
        "second dose", "POST", "/fhir$", (r"GET /fhir/Appointment\?identifier", r"GET /fhir/CarePlan/")
    ),
    "POST Appointment": Write(
        "first dose", "POST", "/fhir/Appointment$", (r"GET /fhir/Appointment\?identifier",), SINGLE
    ),
    "POST CarePlan": Write("first dose", "POST", "/fhir/CarePlan$", (r"GET /fhir/CarePlan\?identifier",), SINGLE),
    "PUT Appointment": Write("corrected", "PUT", "/fhir/Appointment/", ("GET /fhir/Appointment/",), SINGLE),
    "PUT CarePlan": Write("second dose", "PUT", "/fhir/CarePlan/", ("GET /fhir/CarePlan/",), SINGLE),
    "POST Provenance": Write("first dose", "POST", "/fhir/Provenance$", ("POST /fhir/Provenance/_search",)),
    "POST Task": Write("for review", "POST", "/fhir/Task$", (r"GET /fhir/Task\?identifier",)),
}
HABITS = {
    "each entry for itself": Behaviour(transaction="per-entry"),
    "no transactions": SINGLE,
    "If-None-Exist ignored": Behaviour(if_none_exist="ignored"),
    "If-None-Exist ignored, a slow index": Behaviour(if_none_exist="ignored", search_lag=30),
    "If-None-Exist undeclared, no transactions": Behaviour(if_none_exist="undeclared", transaction="undeclared"),
    "a slow index": Behaviour(search_lag=30),
    "no transactions, a slow index": Behaviour(search_lag=30, if_none_exist="ignored", transaction="undeclared"),
    "409 for conflicts": Behaviour(conflict_status=409),
    "no ETags": Behaviour(etags=False),
    "no ETags, no transactions": Behaviour(etags=False, transaction="undeclared"),
}
WORST = ("carried out, no answer", "not carried out, no answer", "not carried out, 412")


def pairs() -> Iterator[Any]:
    """Every write with every fault; every habit with the worst faults; everything else where there is time."""
    for write in WRITES:
        for fault in FAULTS:
            yield pytest.param(write, fault, None, id=f"{write}: {fault}")
    for habit, behaviour in HABITS.items():
        for write, one in WRITES.items():
            if one.path == "/fhir$" and behaviour.transaction == "undeclared":
                continue
            if one.behaviour is SINGLE and behaviour.transaction != "undeclared":
                continue
            for fault in FAULTS:
                marks = () if fault in WORST[: 1 + (one.method == "PUT" or one.path == "/fhir$")] else pytest.mark.kill
                yield pytest.param(write, fault, habit, id=f"{write}: {fault}: {habit}", marks=marks)


@functools.cache
def undisturbed(story: str) -> Any:
    """How a story ends where nothing goes wrong."""
    with tempfile.TemporaryDirectory() as folder, Ward(Path(folder)) as ward:
        begin(ward, story)(ward)
        ward.settle()
        ward.check()
        return ward.end_state()


@pytest.mark.parametrize(("name", "fault", "habit"), list(pairs()))
def test_a_write_that_goes_wrong_is_made_good_once(name: str, fault: str, habit: str | None, tmp_path: Path) -> None:
    write = WRITES[name]
    behaviour = HABITS[habit] if habit else write.behaviour
    with Ward(tmp_path, behaviour=behaviour, deadline=DEADLINE) as ward:
        last = begin(ward, write.story)
        told = len(ward.ehr.requests)
        ward.ehr.fail_next(write.method, write.path, FAULTS[fault]())

        last(ward)
        ward.settle()

        ward.check()
        assert ward.end_state() == undisturbed(write.story)
        assert len(ward.plans(*OPEN_PLANS)) == (write.story != "for review")
        asked_first(ward.ehr.requests[told:], write)
        once(ward)


def asked_first(requests: list[LoggedRequest], write: Write) -> None:
    """Between the write that went wrong and the next of its kind the EHR was asked what it has."""
    shown = [f"{one.method} {one.path}" + (f"?{one.query}" if one.query else "") for one in requests]
    kind = re.compile(f"{write.method} {write.path}")
    sent = [at for at, line in enumerate(shown) if kind.match(line)]
    if len(sent) > 1:
        between = shown[sent[0] + 1 : sent[1]]
        for question in write.asks:
            assert any(re.match(question, line) for line in between), (question, between)


def once(ward: Ward) -> None:
    """Nothing was made more than once, not even for a moment; each dose session has one open visit."""
    for type_ in (*OURS, "Provenance"):
        first_versions = [version for version in ward.ehr.history(type_) if version.number == 1]
        marks = [_mark(version.copy()) for version in first_versions]
        assert len(marks) == len(set(marks)), f"{type_} was made twice"
    doses = {one["id"] for one in ward.ehr.all("MedicationAdministration")}
    assert len(ward.appointments(*OPEN_APPOINTMENTS)) <= len(doses)


def _mark(resource: dict[str, Any]) -> str:
    if resource["resourceType"] == "Provenance":
        return str([entity["what"].get("identifier") for entity in resource["entity"]])
    return str(resource["identifier"][0]["value"])


def test_doubles_are_found_and_one_of_them_is_kept(tmp_path: Path) -> None:
    with Ward(tmp_path, behaviour=replace(SINGLE, if_none_exist="ignored")) as ward:
        last = begin(ward, "first dose")
        ward.ehr.fail_next("POST", "/fhir/Appointment$", faults.commit_then_drop())
        last(ward)
        while ward.step():
            pass
        (made,) = ward.appointments()
        ward.ehr.create({name: value for name, value in made.items() if name not in ("id", "meta")})

        ward.settle()

        (kept,) = ward.appointments(*OPEN_APPOINTMENTS)
        assert kept["id"] == made["id"]
        assert ward.plans()[0]["activity"][0]["reference"]["reference"] == f"Appointment/{made['id']}"


@pytest.mark.parametrize("write", ["the first transaction", "POST Appointment", "POST CarePlan", "POST Task"])
@pytest.mark.parametrize(("product", "shortest", "longest"), [("generic", 60, 90), ("hapi", 0, 10), ("medplum", 0, 10)])
def test_a_conflict_costs_a_minute_only_where_a_create_may_have_been_carried_out_all_the_same(
    product: str, shortest: int, longest: int, write: str, tmp_path: Path
) -> None:
    one = WRITES[write]
    with Ward(tmp_path, behaviour=one.behaviour, product=product) as ward:
        last = begin(ward, one.story)
        told, began = len(ward.ehr.requests), ward.clock()
        ward.ehr.fail_next(one.method, one.path, faults.status(409))

        last(ward)
        ward.settle()

        assert timedelta(seconds=shortest) <= ward.clock() - began <= timedelta(seconds=longest)
        assert ward.end_state() == undisturbed(one.story)
        asked_first(ward.ehr.requests[told:], one)
        once(ward)
