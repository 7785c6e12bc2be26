"""What goes out to an EHR, and what its answers are taken for."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterdose.core.errors import EhrAmbiguous, EhrConflict, EhrError, EhrGone, EhrRefused, EhrUnavailable
from afterdose.ehr import answers, waits, wire
from afterdose.ehr.answers import Written
from afterdose.ehr.wire import Answer, TransactionEntry
from afterdose.fhir import strict_json

BASE = "https://ehr.example/fhir"
NOW = datetime(2026, 1, 5, 15, 0, tzinfo=UTC)
UUID_VALUE = "0b5f4a52-9f0c-5d0e-8a54-6c5a9d3d7a11"
APPOINTMENT = {"resourceType": "Appointment", "status": "proposed"}
RECORDED = Path(__file__).parents[2] / "wire"


def recorded(situation: str) -> Answer:
    content = json.loads((RECORDED / situation / "answer.json").read_text())
    body = strict_json.dumps(content["body"]) if "body" in content else content["text"].encode()
    return Answer(status=content["status"], headers=content["headers"], body=body)


def fhir(status: int, body: object, **headers: str) -> Answer:
    return Answer(
        status=status, headers={"content-type": "application/fhir+json", **headers}, body=strict_json.dumps(body)
    )


def read(answer: Answer) -> Any:
    return answers.decipher_read(answer, "Appointment", "6427746", now=NOW)


def search(answer: Answer) -> Any:
    return answers.decipher_search(answer, "Appointment", now=NOW)


def create(answer: Answer) -> Any:
    return answers.decipher_write(answer, "Appointment", base_url=BASE, now=NOW)


def create_if_none(answer: Answer) -> Any:
    return answers.decipher_write(answer, "Appointment", base_url=BASE, now=NOW, conditional=True)


def update(answer: Answer) -> Any:
    return answers.decipher_write(answer, "Appointment", base_url=BASE, now=NOW, id_="6427746")


class TestRequests:
    def test_a_read_names_type_and_id(self) -> None:
        request = wire.read(f"{BASE}/", "Patient", "a-1.B")
        assert (request.method, request.url, request.template) == ("GET", f"{BASE}/Patient/a-1.B", "Patient/{id}")
        assert not request.changes

    @pytest.mark.parametrize(
        "id_", ["", "..", ".", "a/b", "a?b", "a b", "1\r\nX: y", "é", "x" * 65, "1\n", "%2e%2e", "a#b"]
    )
    def test_an_id_that_fhir_does_not_allow_is_not_sent(self, id_: str) -> None:
        with pytest.raises(EhrRefused):
            wire.read(BASE, "Patient", id_)

    def test_a_search_for_our_own_identifier_is_a_get(self) -> None:
        request = wire.search(BASE, "Task", {"identifier": wire.token("urn:ours", UUID_VALUE), "_count": "5"})
        assert request.method == "GET"
        assert request.url == f"{BASE}/Task?identifier=urn%3Aours%7C{UUID_VALUE}&_count=5"
        assert request.headers["Cache-Control"] == "no-cache"

    @pytest.mark.parametrize(
        "parameters",
        [{"patient": "Patient/7"}, {"identifier": "urn:mrn|777"}, {"_count": "5", "subject": "7"}, {"name": "Doe"}],
    )
    def test_a_search_that_says_something_about_a_person_keeps_it_out_of_the_url(
        self, parameters: dict[str, str]
    ) -> None:
        request = wire.search(BASE, "Task", parameters)
        assert (request.method, request.url) == ("POST", f"{BASE}/Task/_search")
        assert not request.changes
        assert "7" in request.body.decode() or "Doe" in request.body.decode()

    def test_a_parameter_may_be_asked_for_twice(self) -> None:
        request = wire.search(BASE, "Task", {"_lastUpdated": ("ge2026-01-01", "lt2026-01-02")})
        assert request.url.endswith("?_lastUpdated=ge2026-01-01&_lastUpdated=lt2026-01-02")

    def test_search_values_are_escaped(self) -> None:
        assert wire.token("urn:a|b", "c,d$e\\f") == r"urn:a\|b|c\,d\$e\\f"

    def test_a_condition_is_sent_only_where_asked(self) -> None:
        assert "If-None-Exist" not in wire.create(BASE, APPOINTMENT).headers
        query = wire.identifier_query("https://ours.example/id", UUID_VALUE)
        asked = wire.create(BASE, APPOINTMENT, if_none_exist=query)
        assert asked.headers["If-None-Exist"] == f"identifier=https://ours.example/id|{UUID_VALUE}"
        assert asked.changes

    @pytest.mark.parametrize("value", ['W/"1"\r\nX-Evil: 1', 'W/"1"\n', 'W/"\x00"', 'W/"é"'])
    def test_a_header_never_becomes_two(self, value: str) -> None:
        with pytest.raises(EhrRefused):
            wire.update(BASE, "Appointment", "1", APPOINTMENT | {"id": "1"}, if_match=value)

    def test_an_etag_goes_back_as_it_came(self) -> None:
        request = wire.update(BASE, "Appointment", "1", APPOINTMENT | {"id": "1"}, if_match='W/"10-1"')
        assert (request.method, request.headers["If-Match"]) == ("PUT", 'W/"10-1"')

    def test_an_update_of_another_resource_is_not_sent(self) -> None:
        with pytest.raises(EhrRefused):
            wire.update(BASE, "Appointment", "2", APPOINTMENT | {"id": "1"})

    def test_a_transaction_says_how_each_entry_is_to_be_written(self) -> None:
        entries = [
            TransactionEntry(resource=APPOINTMENT, full_url="urn:uuid:1", if_none_exist="identifier=a|b"),
            TransactionEntry(resource=APPOINTMENT | {"id": "9"}, id="9", if_match='W/"2"'),
        ]
        bundle = json.loads(wire.transaction(BASE, entries).body)
        assert [entry["request"] for entry in bundle["entry"]] == [
            {"method": "POST", "url": "Appointment", "ifNoneExist": "identifier=a|b"},
            {"method": "PUT", "url": "Appointment/9", "ifMatch": 'W/"2"'},
        ]
        assert [entry["fullUrl"] for entry in bundle["entry"]] == ["urn:uuid:1", f"{BASE}/Appointment/9"]

    def test_a_call_outside_the_table_cannot_be_built(self) -> None:
        with pytest.raises(EhrRefused):
            wire.create(BASE, {"resourceType": "Patient"})
        with pytest.raises(EhrRefused):
            wire.search(BASE, "AuditEvent", {})
        with pytest.raises(EhrRefused):
            wire.transaction(BASE, [TransactionEntry(resource={"resourceType": "Provenance"}, id="1")])

    @pytest.mark.parametrize(
        ("link", "url"),
        [
            (f"{BASE}?page=2", f"{BASE}?page=2"),
            ("https://ehr.example:443/fhir/Task?page=2", f"{BASE}/Task?page=2"),
            ("http://10.0.66.99:8080/fhir?page=2", f"{BASE}?page=2"),
            ("Task?page=2", f"{BASE}/Task?page=2"),
        ],
    )
    def test_a_link_to_the_next_page_is_repaired_onto_the_base(self, link: str, url: str) -> None:
        assert wire.next_page(BASE, "Task", link).url == url

    @pytest.mark.parametrize(
        "link", ["https://evil.example/x", "/other?page=2", "https://[", "/fhirx/Task", "file:///x"]
    )
    def test_a_link_that_leads_elsewhere_is_not_followed(self, link: str) -> None:
        with pytest.raises(EhrRefused):
            wire.next_page(BASE, "Task", link)


REFUSALS: list[tuple[str, Any, type[EhrError], str | None]] = [
    ("hapi/read-410", read, EhrGone, "deleted"),
    ("hapi/create-412-matches-two", create_if_none, EhrConflict, "multiple-matches"),
    ("hapi/create-412-matches-two", update, EhrConflict, "processing"),
    ("hapi/create-422-unknown-profile", create, EhrRefused, "Validation_VAL_Profile_Unknown"),
    ("oracle/update-409-stale", update, EhrConflict, "conflict"),
    ("oracle/update-423-being-edited", update, EhrUnavailable, "lock-error"),
    ("epic/create-400-duplicate", create, EhrRefused, "59141"),
    ("epic/search-200-refused-inside", search, EhrRefused, "4134"),
    ("medplum/throttled-429", create, EhrUnavailable, "throttled"),
    ("smart-launcher/read-401", read, EhrUnavailable, None),
    ("proxy/login-page-200", read, EhrUnavailable, None),
    ("proxy/login-page-200", search, EhrUnavailable, None),
    ("proxy/login-page-200", create, EhrAmbiguous, None),
    ("proxy/login-page-302", read, EhrUnavailable, None),
    ("proxy/login-page-302", update, EhrAmbiguous, None),
    ("proxy/web-page-404", read, EhrUnavailable, None),
    ("proxy/web-page-404", update, EhrAmbiguous, None),
    ("proxy/web-page-404", create, EhrRefused, None),
    ("proxy/bad-gateway-502", read, EhrUnavailable, None),
    ("proxy/bad-gateway-502", create, EhrAmbiguous, None),
    ("proxy/unavailable-503", read, EhrUnavailable, None),
    ("proxy/unavailable-503", update, EhrAmbiguous, None),
]


class TestAnswers:
    @pytest.mark.parametrize(("situation", "decipher", "error", "code"), REFUSALS)
    def test_a_failure_says_who_has_to_act_and_nothing_about_a_person(
        self, situation: str, decipher: Any, error: type[EhrError], code: str | None
    ) -> None:
        with pytest.raises(EhrError) as raised:
            decipher(recorded(situation))
        assert type(raised.value) is error
        assert raised.value.code == code
        assert raised.value.status == recorded(situation).status
        assert "Doe" not in str(raised.value)
        assert "6427746" not in str(raised.value)

    @pytest.mark.parametrize(
        ("status", "on_read", "on_update"),
        [
            (202, EhrUnavailable, EhrAmbiguous),
            (204, EhrUnavailable, EhrAmbiguous),
            (301, EhrUnavailable, EhrAmbiguous),
            (303, EhrUnavailable, EhrAmbiguous),
            (400, EhrRefused, EhrRefused),
            (403, EhrRefused, EhrRefused),
            (404, EhrGone, EhrGone),
            (405, EhrRefused, EhrRefused),
            (408, EhrUnavailable, EhrAmbiguous),
            (409, EhrConflict, EhrConflict),
            (410, EhrGone, EhrGone),
            (412, EhrConflict, EhrConflict),
            (413, EhrRefused, EhrRefused),
            (422, EhrRefused, EhrRefused),
            (429, EhrUnavailable, EhrUnavailable),
            (500, EhrUnavailable, EhrAmbiguous),
            (501, EhrRefused, EhrRefused),
            (503, EhrUnavailable, EhrAmbiguous),
            (504, EhrUnavailable, EhrAmbiguous),
        ],
    )
    def test_a_status_means_the_same_at_every_ehr(
        self, status: int, on_read: type[EhrError], on_update: type[EhrError]
    ) -> None:
        answer = fhir(status, {"resourceType": "OperationOutcome"}, location=f"{BASE}/Appointment/6427746")
        for decipher, error in ((read, on_read), (update, on_update)):
            with pytest.raises(EhrError) as raised:
                decipher(answer)
            assert type(raised.value) is error

    def test_an_unknown_path_is_no_removed_resource(self) -> None:
        for decipher in (search, create):
            with pytest.raises(EhrRefused):
                decipher(fhir(404, {"resourceType": "OperationOutcome"}))

    def test_a_created_resource_has_id_etag_and_content(self) -> None:
        written = create(recorded("hapi/create-201"))
        assert (written.id, written.etag, written.created) == ("6427746", 'W/"1"', True)
        assert written.resource["status"] == "proposed"

    def test_an_empty_201_is_a_success_when_it_says_where(self) -> None:
        written = create(recorded("oracle/create-201-empty"))
        assert written == Written(id="6427746", etag='W/"10-1"', resource=None, created=True)

    @pytest.mark.parametrize(
        ("location", "id_"),
        [
            ("Appointment/7", "7"),
            ("/fhir/Appointment/7", "7"),
            ("https://ehr.example:443/fhir/Appointment/7/_history/3", "7"),
            ("https://other.example/fhir/Appointment/7", None),
            ("https://ehr.example/other/Appointment/7", None),
            ("Patient/7", None),
            ("Appointment/../Patient/7", None),
            ("Appointment/7?x=y", "7"),
            ("https://[", None),
            ("", None),
        ],
    )
    def test_a_location_counts_only_under_the_base(self, location: str, id_: str | None) -> None:
        answer = Answer(status=201, headers={"location": location})
        if id_ is None:
            with pytest.raises(EhrAmbiguous):
                create(answer)
        else:
            assert create(answer).id == id_

    def test_a_conditional_create_that_found_one_created_nothing(self) -> None:
        written = create_if_none(recorded("medplum/create-200-found"))
        assert (written.id, written.created) == ("6427746", False)

    @pytest.mark.parametrize(
        "body",
        [b"", b'{"resourceType":"Appointment","id":"64', b"[]", b'{"resourceType":"Appointment","id":"1","id":"2"}'],
    )
    def test_a_body_that_is_not_whole_proves_nothing(self, body: bytes) -> None:
        answer = Answer(status=200, headers={"content-type": "application/fhir+json"}, body=body)
        with pytest.raises(EhrAmbiguous):
            update(answer)
        with pytest.raises(EhrUnavailable):
            read(answer)

    @pytest.mark.parametrize("type_", ["OperationOutcome", "Patient", "Bundle", 5, None])
    def test_another_resource_proves_nothing(self, type_: object) -> None:
        answer = fhir(200, {"resourceType": type_, "id": "6427746"})
        with pytest.raises(EhrAmbiguous):
            update(answer)
        with pytest.raises(EhrUnavailable):
            read(answer)

    def test_an_answer_about_another_id_proves_nothing_and_an_update_that_made_one_is_not_repeated(self) -> None:
        answer = fhir(200, {"resourceType": "Appointment", "id": "other"})
        with pytest.raises(EhrRefused, match="another id"):
            update(answer)
        with pytest.raises(EhrUnavailable):
            read(answer)

    def test_a_byte_order_mark_and_plain_json_are_tolerated(self) -> None:
        body = b'\xef\xbb\xbf{"resourceType":"Appointment","id":"6427746","meta":{"versionId":"4"}}'
        found = read(Answer(status=200, headers={"content-type": "application/json; charset=UTF-8"}, body=body))
        assert found.etag == 'W/"4"'

    def test_a_search_gives_the_matches_and_the_link(self) -> None:
        page = search(recorded("hapi/search-200"))
        assert [resource["resourceType"] for resource in page.resources] == ["Appointment"]
        assert page.next_link == "http://10.0.66.99:8080/fhir?_getpages=1"

    def test_a_warning_inside_a_result_is_no_refusal(self) -> None:
        assert search(recorded("epic/search-200-no-results")).resources == []

    def test_every_entry_of_a_transaction_is_judged_by_itself(self) -> None:
        entries = [TransactionEntry(resource=APPOINTMENT, if_none_exist="identifier=a|b") for _ in range(3)]
        first, second, third = answers.decipher_transaction(
            recorded("medplum/transaction-200-not-atomic"), entries, base_url=BASE, now=NOW
        )
        assert isinstance(first, Written)
        assert first.id == "6427746"
        assert isinstance(second, EhrRefused)
        assert isinstance(third, EhrConflict)
        assert third.code == "multiple-matches"

    @pytest.mark.parametrize(
        "bundle",
        [
            {"resourceType": "Bundle", "type": "searchset", "entry": [{"response": {"status": "201"}}]},
            {"resourceType": "Bundle", "type": "transaction-response", "entry": []},
            {"resourceType": "Bundle", "type": "transaction-response"},
        ],
    )
    def test_a_transaction_response_that_leaves_entries_open_proves_nothing(self, bundle: object) -> None:
        with pytest.raises(EhrAmbiguous):
            answers.decipher_transaction(
                fhir(200, bundle), [TransactionEntry(resource=APPOINTMENT)], base_url=BASE, now=NOW
            )

    @pytest.mark.parametrize(
        "response",
        [{}, {"status": "201"}, {"status": "201", "location": "Patient/1"}, {"status": 201}, {"status": "abc"}],
    )
    def test_an_entry_without_status_or_id_proves_nothing(self, response: object) -> None:
        bundle = {"resourceType": "Bundle", "type": "transaction-response", "entry": [{"response": response}]}
        (result,) = answers.decipher_transaction(
            fhir(200, bundle), [TransactionEntry(resource=APPOINTMENT)], base_url=BASE, now=NOW
        )
        assert isinstance(result, EhrAmbiguous)


def test_a_version_that_was_compressed_on_its_way_is_the_same_version() -> None:
    for mark in ("-gzip", "--gzip", ";br"):
        headers = {"etag": f'W/"3{mark}"', "content-encoding": "gzip"}
        assert read(fhir(200, {**APPOINTMENT, "id": "6427746"}, **headers)).etag == 'W/"3"'
    assert read(fhir(200, {**APPOINTMENT, "id": "6427746"}, etag='"3-gzip"')).etag == '"3-gzip"'


class TestPatches:
    def test_a_patch_replaces_elements_of_the_version_that_was_read(self) -> None:
        request = wire.patch(BASE, "Appointment", "7", {"status": "cancelled"}, if_match='W/"10-1"')
        assert (request.method, request.url, request.changes) == ("PATCH", f"{BASE}/Appointment/7", True)
        assert request.headers["Content-Type"] == "application/json-patch+json"
        assert request.headers["If-Match"] == 'W/"10-1"'
        assert strict_json.loads(request.body) == [{"op": "replace", "path": "/status", "value": "cancelled"}]

    def test_what_need_not_be_patched_cannot_be(self) -> None:
        with pytest.raises(EhrRefused, match="patch"):
            wire.patch(BASE, "CarePlan", "7", {"status": "revoked"})

    @pytest.mark.parametrize("status", [200, 204])
    def test_an_empty_answer_with_the_new_version_is_enough_where_the_id_was_ours_to_say(self, status: int) -> None:
        written = update(Answer(status=status, headers={"etag": 'W/"10"', "content-type": "text/html"}))
        assert (written.id, written.etag, written.resource) == ("6427746", 'W/"10"', None)

    @pytest.mark.parametrize("decipher", [update, create])
    def test_an_empty_answer_without_a_version_or_an_id_proves_nothing(self, decipher: Any) -> None:
        with pytest.raises(EhrAmbiguous):
            decipher(Answer(status=200, headers={}))

    def test_the_location_of_another_host_proves_nothing(self) -> None:
        with pytest.raises(EhrAmbiguous):
            create(
                Answer(status=201, headers={"location": "https://elsewhere.example/r4/Appointment/1", "etag": '"1"'})
            )

    @pytest.mark.parametrize(
        ("status", "error"),
        [
            (409, EhrConflict),
            (412, EhrConflict),
            (422, EhrRefused),
            (423, EhrUnavailable),
            (424, EhrUnavailable),
            (428, EhrRefused),
            (429, EhrUnavailable),
        ],
    )
    def test_what_a_refusal_of_a_change_means(self, status: int, error: type[Exception]) -> None:
        with pytest.raises(error) as raised:
            update(Answer(status=status, headers={}))
        assert not isinstance(raised.value, EhrAmbiguous)


class TestRetryAfter:
    @pytest.mark.parametrize(
        ("headers", "wait"),
        [
            ({}, None),
            ({"retry-after": "120"}, timedelta(seconds=120)),
            ({"retry-after": "0"}, timedelta(0)),
            ({"retry-after": "-5"}, None),
            ({"retry-after": "soon"}, None),
            ({"retry-after": "9" * 5000}, timedelta(hours=1)),
            ({"retry-after": "Mon, 05 Jan 2026 15:00:30 GMT"}, timedelta(seconds=30)),
            ({"retry-after": "Mon, 05 Jan 2026 14:00:00 GMT"}, timedelta(0)),
            ({"retry-after": "Tue, 05 Jan 2027 15:00:00 GMT"}, timedelta(hours=1)),
            (
                {"retry-after": "Mon, 05 Jan 2026 18:00:30 GMT", "date": "Mon, 05 Jan 2026 18:00:00 GMT"},
                timedelta(seconds=30),
            ),
            ({"retry-after": "1", "x-ms-retry-after-ms": "2750"}, timedelta(seconds=2.75)),
            ({"ratelimit": '"requests";r=0;t=60'}, timedelta(seconds=60)),
            ({"ratelimit": '"requests";r=9;t=60, "fhir";r=0;t=7'}, timedelta(seconds=7)),
        ],
    )
    def test_what_the_ehr_asks_for_is_read_up_to_an_hour(self, headers: dict[str, str], wait: timedelta | None) -> None:
        assert waits.retry_after(headers, NOW) == wait

    @pytest.mark.parametrize("situation", ["medplum/throttled-429", "azure/throttled-429", "proxy/unavailable-503"])
    def test_the_error_carries_it(self, situation: str) -> None:
        with pytest.raises(EhrUnavailable) as raised:
            create(recorded(situation))
        assert raised.value.retry_after is not None

    @given(st.dictionaries(st.sampled_from(["retry-after", "date", "ratelimit", "x-ms-retry-after-ms"]), st.text()))
    def test_no_header_breaks_it(self, headers: dict[str, str]) -> None:
        wait = waits.retry_after(headers, NOW)
        assert wait is None or timedelta(0) <= wait <= timedelta(hours=1)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(["resourceType", "id", "meta", "entry", "resource", "response", "status", "issue", "type"]),
            inner,
        )
    ),
)


@given(st.integers(100, 599), JSON_VALUES, st.sampled_from(["application/fhir+json", "text/html", ""]))
def test_whatever_an_ehr_answers_is_a_value_or_one_of_our_errors(status: int, body: object, media_type: str) -> None:
    answer = Answer(status=status, headers={"content-type": media_type}, body=strict_json.dumps(body))
    entries = [TransactionEntry(resource=APPOINTMENT)]
    for decipher in (
        read,
        search,
        create,
        update,
        lambda one: answers.decipher_transaction(one, entries, base_url=BASE, now=NOW),
        lambda one: answers.decipher_capabilities(one, now=NOW),
    ):
        try:
            decipher(answer)
        except EhrError:
            continue
        assert status in (200, 201)
