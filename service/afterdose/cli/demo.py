"""`afterdose demo`: the whole service and a sandbox EHR on real sockets, through a fortnight in seconds."""

import json
import secrets
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import click
from rich.console import Console
from werkzeug.serving import WSGIRequestHandler, make_server

from afterdose import logs
from afterdose.bootstrap import web_app
from afterdose.cli.ending import SHOWN, SOURCE, owner_of, status_of, summary, tell
from afterdose.cli.story import Step, Story, administration, crisis_plan, encounter, load_story, patient
from afterdose.fhir.times import format_local
from afterdose.sandbox import SandboxEHR
from afterdose.settings import Settings, load_settings
from afterdose.store.migrate import migrate
from afterdose.workshop import Workshop

_PATIENCE = 30.0
"""Seconds of real time that one step of the story may take before the demo gives up."""

_OF_DOSES = frozenset({"charted", "corrected", "retracted"})
"""What the EHR tells the service of; the rest it finds when it looks."""


class _StoryClock:
    """The time of the story. It only goes forward."""

    def __init__(self, now: datetime) -> None:
        self._now = now

    def __call__(self) -> datetime:
        return self._now

    def move_to(self, moment: datetime) -> None:
        self._now = max(self._now, moment)


class _Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:
        """Say nothing: the story is what is told."""


@click.command(short_help="Play a fortnight of doses against a sandbox EHR.")
@click.option("--exit", "exit_", is_flag=True, help="End after the story; fails unless all is in the sandbox EHR.")
@click.option("--json", "json_", is_flag=True, help="Print the summary as JSON and nothing else, and end.")
@click.option("--port", default=0, help="Port of the sandbox EHR; 0 takes a free one.")
def demo(exit_: bool, json_: bool, port: int) -> None:
    """Play a fortnight of doses against a sandbox EHR, and show what becomes of them."""
    console = Console(quiet=json_, highlight=False)
    story = load_story()
    clock = _StoryClock(story.steps[0].at - timedelta(minutes=30))
    logs.configure("error", "text")
    with tempfile.TemporaryDirectory(prefix="afterdose-demo-") as folder, SandboxEHR(port=port, clock=clock) as ehr:
        settings = _settings(Path(folder), ehr.base_url, story)
        migrate(settings.database)
        with Workshop(settings, clock=clock) as workshop, _web(settings, workshop, clock) as address:
            _open(console, ehr, address)
            _prepare(ehr, story, address, settings_token(Path(folder)))
            workshop.start()
            for step in story.steps:
                clock.move_to(step.at)
                _play(step, story, ehr, workshop, console)
            found = summary(story, ehr, workshop)
            tell(found, story, console)
            if json_:
                click.echo(json.dumps(found, indent=2))
            if not (exit_ or json_):
                console.print(f"\nThe sandbox EHR stays up: [bold]{ehr.page_url}[/bold]  (Ctrl-C ends it)")
                _until_interrupted()
            elif found["missing"]:
                raise click.ClickException("; ".join(found["missing"]))


def settings_token(folder: Path) -> str:
    """The secret that the sandbox EHR shows to the service; made anew for each demo."""
    return (folder / "sender.token").read_text(encoding="ascii")


def _settings(folder: Path, base_url: str, story: Story) -> Settings:
    (folder / "sender.token").write_text(secrets.token_urlsafe(48), encoding="ascii")
    (folder / "afterdose.toml").write_text(
        f"""
data_dir = "{folder}"
[work]
threads = 2
poll_interval = "50ms"
[targets.{SOURCE}]
base_url = "{base_url}"
clinic = "example"
[sources.{SOURCE}]
target = "{SOURCE}"
zone = "{story.zone.key}"
[[sources.{SOURCE}.secrets]]
value_file = "sender.token"
""",
        encoding="utf-8",
    )
    return load_settings(folder / "afterdose.toml", {})


@contextmanager
def _web(settings: Settings, workshop: Workshop, clock: _StoryClock) -> Iterator[str]:
    """The service's door on a free port, in this process because it lives in the story's time."""
    app = web_app(settings, workshop.store, clock=clock)
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Quiet)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/fhir"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _open(console: Console, ehr: SandboxEHR, address: str) -> None:
    console.print("[bold]afterdose demo[/bold]: two weeks at a made-up clinic, in the time of the story.")
    console.print(f"Sandbox EHR (for demonstration and tests only): {ehr.page_url}")
    console.print(f"afterdose listens at {address} and hears of doses by the EHR's rest-hook Subscription.\n")


def _prepare(ehr: SandboxEHR, story: Story, address: str, token: str) -> None:
    for who in story.people:
        ehr.put(patient(story, who))
        if plan := crisis_plan(story, who):
            ehr.put(plan)
    for step in story.steps:
        if step.what == "charted":
            ehr.put(encounter(step))
    ehr.create(
        {
            "resourceType": "Subscription",
            "status": "requested",
            "reason": "Integration care after ketamine and esketamine",
            "criteria": "MedicationAdministration?",
            "channel": {
                "type": "rest-hook",
                "endpoint": address,
                "payload": "application/fhir+json",
                "header": [f"Authorization: Bearer {token}"],
            },
        }
    )


def _play(step: Step, story: Story, ehr: SandboxEHR, workshop: Workshop, console: Console) -> None:
    before = {(one["resourceType"], one["id"]): one for one in _written(ehr)}
    known = workshop.store.facts.count()
    if step.what == "booked":
        _book(step, ehr)
    elif step.what == "activated":
        _activate(step, ehr)
    elif step.what == "retracted":
        current = ehr.get("MedicationAdministration", step.dose)
        ehr.put({**(current or {}), "status": "entered-in-error"})
    elif step.what != "looked":
        ehr.put(administration(step))
    _wait_until_idle(workshop, known + (step.what in _OF_DOSES), step.at)
    when = format_local(step.at, story.zone)
    console.print(f"[cyan]{when}[/cyan]  [bold]{story.name(step.who)}[/bold]: {step.words}")
    for line in _changes(before, ehr, story.zone):
        console.print(f"    {line}")
    outcome = workshop.store.outcomes.find(SOURCE, step.dose)
    if outcome is not None and step.what in _OF_DOSES:
        reasons = ", ".join(workshop.content.reason_text(reason) for reason in outcome.reasons)
        console.print(f"    [green]{outcome.outcome}[/green]" + (f" ({reasons})" if reasons else ""))


def _wait_until_idle(workshop: Workshop, facts: int, now: datetime) -> None:
    """Until the event is on disk and no patient is due any more."""
    deadline = time.monotonic() + _PATIENCE
    while workshop.store.facts.count() < facts or workshop.store.agenda.due_count(now):
        if time.monotonic() > deadline:
            raise click.ClickException("the service did not finish a step of the story in time")
        time.sleep(0.01)


def _book(step: Step, ehr: SandboxEHR) -> None:
    """What a coordinator does: agree a time inside the requested period and book it."""
    for appointment in ehr.all("Appointment"):
        doses = [reference.get("reference") for reference in appointment["supportingInformation"]]
        if f"MedicationAdministration/{step.dose}" in doses and appointment["status"] == "proposed":
            start = datetime.fromisoformat(appointment["requestedPeriod"][0]["start"]) + timedelta(hours=5)
            start = start.replace(minute=0, second=0)
            end = start + timedelta(minutes=appointment["minutesDuration"])
            ehr.put({**appointment, "status": "booked", "start": start.isoformat(), "end": end.isoformat()})


def _activate(step: Step, ehr: SandboxEHR) -> None:
    """What a clinician does: take a proposed plan for the patient's plan."""
    for plan in ehr.all("CarePlan"):
        if owner_of(plan) == f"Patient/{step.who}" and plan["status"] == "draft":
            ehr.put({**plan, "status": "active", "intent": "plan"})


def _written(ehr: SandboxEHR) -> list[dict[str, Any]]:
    return [resource for type_ in SHOWN for resource in ehr.all(type_)]


def _changes(before: Mapping[tuple[str, str], dict[str, Any]], ehr: SandboxEHR, zone: ZoneInfo) -> Iterator[str]:
    for resource in _written(ehr):
        type_, status = resource["resourceType"], status_of(resource)
        old = before.get((type_, resource["id"]))
        if old is None:
            yield f"EHR: new {type_} ({status}): {_gist(resource, zone)}"
        elif old["meta"]["versionId"] != resource["meta"]["versionId"]:
            change = status if status_of(old) == status else f"{status_of(old)} -> {status}"
            yield f"EHR: {type_} changed ({change}): {_gist(resource, zone)}"


def _gist(resource: Mapping[str, Any], zone: ZoneInfo) -> str:
    """What a resource is about, and by when."""
    described = resource.get("description")
    about = described.get("text") if isinstance(described, dict) else described
    code = resource.get("code", {}).get("text")
    gist = str(resource.get("comment") or resource.get("title") or about or code)
    until = resource.get("restriction", {}).get("period", {}).get("end")
    return f"{gist}, due {format_local(datetime.fromisoformat(until), zone)}" if until else gist


def _until_interrupted() -> None:
    end = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: end.set())
    end.wait()
