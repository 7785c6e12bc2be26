"""What people changed in the EHR stays; what is ours follows the facts."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from afterdose.work.delivery.merge import fingerprint, merge, rebase, settle, still_ours


def a_plan(**elements):
    return {
        "resourceType": "CarePlan",
        "status": "draft",
        "title": "Course",
        "activity": [{"reference": {"reference": "Appointment/1"}}],
        **elements,
    }


def written(desired, current=None, owned=None):
    """Write ``desired`` and return what stands in the EHR with the ownership memory."""
    merged = merge(desired, current, owned or {})
    stands = {**merged.resource, "id": "7", "meta": {"versionId": "1", **merged.resource.get("meta", {})}}
    return stands, settle(merged, stands)


def test_a_fingerprint_of_the_ledger_holds_for_every_later_version():
    said = {"b": [1, Decimal("35.00"), '\u00e9\u2028\x7f"\\\n'], "a": {"d": None, "c": True}}

    assert fingerprint(said) == fingerprint(dict(reversed(said.items()))) == "d981067fcb54ed807c3b"
    assert fingerprint({**said, "e": 10**30}) == "c5fd411b896e831779a3"


def test_a_first_write_is_sent_as_it_is():
    assert merge(a_plan(), None, {}).resource == a_plan()


def test_nothing_changes_when_nothing_differs():
    stands, owned = written(a_plan())

    assert not merge(a_plan(), stands, owned).changed


def test_our_own_element_follows_what_we_want_now():
    stands, owned = written(a_plan())

    merged = merge(a_plan(title="Course, second dose"), stands, owned)

    assert merged.changed
    assert merged.resource["title"] == "Course, second dose"


def test_an_element_that_a_person_changed_is_theirs_for_good():
    stands, owned = written(a_plan())
    edited = {**stands, "title": "Anna's plan", "status": "active"}

    stands, owned = written(a_plan(title="Course, second dose"), edited, owned)
    again = merge(a_plan(title="Course, third dose", status="completed"), stands, owned)

    assert again.resource["title"] == "Anna's plan"
    assert again.resource["status"] == "active"
    assert set(again.taken_over) == {"title", "status"}


def test_an_element_that_only_people_wrote_is_left_alone():
    stands, owned = written(a_plan())

    merged = merge(a_plan(title="x"), {**stands, "careTeam": [{"reference": "CareTeam/1"}]}, owned)

    assert merged.resource["careTeam"] == [{"reference": "CareTeam/1"}]


def test_an_activity_that_a_person_added_stays_beside_ours():
    stands, owned = written(a_plan())
    theirs = {"reference": {"reference": "ServiceRequest/9"}}
    edited = {**stands, "activity": [*stands["activity"], theirs]}

    second = {"reference": {"reference": "Appointment/2"}}
    merged = merge(a_plan(activity=[*a_plan()["activity"], second]), edited, owned)

    assert merged.resource["activity"] == [*a_plan()["activity"], theirs, second]


def test_an_activity_that_a_person_removed_is_not_put_back_not_even_later():
    stands, owned = written(a_plan())
    removed = {key: value for key, value in stands.items() if key != "activity"}

    stands, owned = written(a_plan(title="one"), removed, owned)
    stands, owned = written(a_plan(title="two"), stands, owned)

    assert "activity" not in stands


def an_activity(words, place="Appointment/1"):
    return {"progress": [{"text": words}], "reference": {"reference": place}}


def test_an_activity_that_a_person_removed_is_not_put_back_in_other_words():
    stands, owned = written(a_plan(activity=[an_activity("book")]))
    removed = {key: value for key, value in stands.items() if key != "activity"}

    stands, owned = written(a_plan(activity=[an_activity("book soon")]), removed, owned)
    new = an_activity("new", "Appointment/2")
    stands, owned = written(a_plan(activity=[an_activity("book now"), new]), stands, owned)

    assert stands["activity"] == [new]


def test_an_activity_that_a_person_reworded_is_not_named_a_second_time():
    stands, owned = written(a_plan(activity=[an_activity("book")]))
    theirs = an_activity("Anna has called")

    stands, owned = written(a_plan(activity=[an_activity("book soon")]), {**stands, "activity": [theirs]}, owned)
    stands, owned = written(a_plan(activity=[an_activity("book now")]), stands, owned)

    assert stands["activity"] == [theirs]


def test_an_activity_that_a_person_has_added_before_us_is_not_named_a_second_time():
    stands, owned = written(a_plan())
    theirs = an_activity("Anna was faster", "https://ehr.example/fhir/Appointment/2")
    edited = {**stands, "activity": [*stands["activity"], theirs]}

    merged = merge(a_plan(activity=[*a_plan()["activity"], an_activity("book", "Appointment/2")]), edited, owned)

    assert merged.resource["activity"] == edited["activity"]


def test_what_an_activity_refers_to_is_learned_from_the_answer():
    merged = merge(a_plan(activity=[an_activity("book", "urn:uuid:1")]), None, {})
    stands = {**merged.resource, "activity": [an_activity("book")]}
    removed = {**stands, "activity": []}

    again = merge(a_plan(activity=[an_activity("book soon")]), removed, settle(merged, stands))

    assert "activity" not in again.resource


def test_an_entry_of_ours_that_changes_keeps_its_place():
    first, second = {"progress": "a", "reference": "1"}, {"progress": "b", "reference": "2"}
    stands, owned = written(a_plan(activity=[first, second]))

    merged = merge(a_plan(activity=[{**first, "progress": "changed"}, second]), stands, owned)

    assert merged.resource["activity"] == [{**first, "progress": "changed"}, second]


def test_what_the_server_normalises_is_still_ours():
    merged = merge(a_plan(), None, {})
    normalised = {**merged.resource, "id": "7", "title": "Course (v1)"}
    owned = settle(merged, normalised)

    assert still_ours(normalised, owned, ["title", "activity"])
    assert merge(a_plan(title="new"), normalised, owned).resource["title"] == "new"


def test_an_entry_is_known_again_where_the_server_has_put_it_elsewhere():
    first, second = {"reference": "1"}, {"reference": "2"}
    merged = merge(a_plan(activity=[first, second]), None, {})
    reordered = {**merged.resource, "activity": [second, first]}

    without_the_second = merge(a_plan(activity=[first]), reordered, settle(merged, reordered))

    assert without_the_second.resource["activity"] == [first]


def test_what_the_server_rewrote_later_and_nobody_else_is_still_ours():
    stands, owned = written(a_plan(description="a  b"))
    named = {"reference": {"reference": "Appointment/1", "type": "Appointment"}}
    rewritten = {**stands, "description": "a b", "activity": [named]}

    known = rebase(owned, rewritten)

    assert not still_ours(rewritten, owned, ["description", "activity"])
    assert still_ours(rewritten, known, ["description", "activity", "title"])


def test_a_changed_element_is_seen():
    stands, owned = written(a_plan())

    assert not still_ours({**stands, "title": "x"}, owned, ["title"])
    assert not still_ours({**stands, "activity": []}, owned, ["activity"])


def test_labels_of_the_server_and_ours_are_both_kept():
    stands, owned = written(a_plan(meta={"security": [{"system": "s", "code": "R"}]}))
    stands["meta"]["security"].append({"system": "s", "code": "PSY"})

    merged = merge(a_plan(meta={"security": [{"system": "s", "code": "R"}]}), stands, owned)

    assert [label["code"] for label in merged.resource["meta"]["security"]] == ["R", "PSY"]
    assert "versionId" not in merged.resource["meta"]


entries = st.lists(st.integers(0, 5).map(lambda n: {"n": n}), unique_by=lambda e: e["n"], max_size=5)


@given(first=entries, theirs=entries, second=entries)
def test_entries_of_people_always_survive_and_the_merge_settles(first, theirs, second):
    theirs = [{"by": "person", **entry} for entry in theirs]
    stands, owned = written(a_plan(activity=first))
    edited = {**stands, "activity": [*theirs, *stands["activity"]]}

    stands, owned = written(a_plan(activity=second), edited, owned)

    assert [entry for entry in stands.get("activity", []) if "by" in entry] == theirs
    assert [entry for entry in stands.get("activity", []) if "by" not in entry] == second
    assert not merge(a_plan(activity=second), stands, owned).changed
