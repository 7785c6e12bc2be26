"""Records that are merged and parted: what moves with them, in one piece, under whose claim."""

from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import uuid4

import pytest
from store_examples import arrival, claim

from afterdose.core.care import ArtifactKey, ArtifactKind, Membership, ReviewItem, Standing
from afterdose.core.dose import DoseKey
from afterdose.core.errors import LeaseLost
from afterdose.core.identity import artifact_id, course_id, dose_session_id
from afterdose.core.reasons import Outcome, Reason
from afterdose.store.rows import Claim, LedgerRow, OutcomeRow, PersonRow
from afterdose.store.store import Store

Clock = Callable[[], datetime]
DOSE = DoseKey("ehr", "dose-1")
MEMBER = Membership(session_id=dose_session_id(DOSE), course_id=course_id(DOSE))
PLAN = ArtifactKey(ArtifactKind.CARE_PLAN, MEMBER.course_id)
VISIT = ArtifactKey(ArtifactKind.APPOINTMENT, MEMBER.session_id)


def row(mine: Claim, key: ArtifactKey, ehr_id: str | None) -> LedgerRow:
    return LedgerRow(
        target=mine.target,
        patient=mine.patient,
        key=key,
        identifier=artifact_id(key),
        resource_type="CarePlan" if key is PLAN else "Appointment",
        standing=Standing.WRITTEN if ehr_id else Standing.INTENDED,
        ehr_id=ehr_id,
    )


def planned(store: Store, clock: Clock) -> Claim:
    """Ann's dose is planned: the plan is written, the visit not yet."""
    store.committer.submit([arrival()])
    mine = claim(store, clock)
    store.ledger.record(mine, [row(mine, PLAN, "plan-1"), row(mine, VISIT, None)])
    outcome = OutcomeRow(target="main", patient="ann", key=DOSE, outcome=Outcome.REVIEW)
    question = ReviewItem(founder=DOSE, administrations=(DOSE,), reasons=(Reason.DOSE_MISSING,))
    store.outcomes.replace(mine, [outcome], {DOSE: MEMBER}, [question])
    return mine


def kept(store: Store, patient: str) -> dict[ArtifactKey, str | None]:
    return {one.key: one.named for one in store.ledger.load("main", patient)}


def test_everything_goes_to_the_survivor_and_what_is_written_names_whom_it_named(store: Store, clock: Clock) -> None:
    mine = planned(store, clock)

    store.custody.hand_over(mine, "bob")

    assert kept(store, "ann") == {}
    assert kept(store, "bob") == {PLAN: "ann", VISIT: None}
    assert store.outcomes.memberships("main", "bob") == {DOSE: MEMBER}
    assert (store.outcomes.of_patient("main", "ann"), store.reviews.open(9)) == ([], [])
    assert store.persons.kept_with("main", "bob") == ["ann"]
    waiting = store.agenda.find("main", "bob")
    assert waiting is not None
    assert waiting.reasons == ("identity",)


def test_nothing_moves_under_a_claim_that_is_lost(store: Store, clock: Clock) -> None:
    mine = planned(store, clock)
    store.agenda.finish(mine, None, "time")

    with pytest.raises(LeaseLost):
        store.custody.hand_over(mine, "bob")

    assert kept(store, "ann") == {PLAN: None, VISIT: None}


def test_what_is_handed_on_goes_to_the_end_of_the_chain(store: Store, clock: Clock) -> None:
    first = planned(store, clock)
    store.custody.hand_over(first, "bob")
    store.agenda.finish(first, None, "time")

    store.custody.hand_over(claim(store, clock), "cid")

    assert kept(store, "cid") == {PLAN: "ann", VISIT: None}
    assert store.persons.kept_with("main", "cid") == ["ann", "bob"]


def test_what_is_given_back_is_as_it_was_and_who_shared_the_course_founds_another(store: Store, clock: Clock) -> None:
    first = planned(store, clock)
    store.custody.hand_over(first, "bob")
    store.agenda.finish(first, None, "time")
    second, other = claim(store, clock), DoseKey("ehr", "dose-2")
    shared = Membership(session_id=dose_session_id(other), course_id=MEMBER.course_id)
    store.outcomes.replace(second, [], {other: shared})

    store.custody.give_back(second, "ann", "ann", [DOSE], {MEMBER.session_id, MEMBER.course_id})

    assert kept(store, "ann") == {PLAN: None, VISIT: None}
    assert store.outcomes.memberships("main", "ann") == {DOSE: MEMBER}
    assert store.outcomes.memberships("main", "bob") == {}
    assert store.persons.kept_with("main", "bob") == []


def test_where_both_have_a_row_the_one_that_is_in_the_ehr_counts(store: Store, clock: Clock) -> None:
    first = planned(store, clock)
    store.agenda.finish(first, None, "time")
    store.committer.submit([arrival("dose-9", "bob")])
    second = claim(store, clock)
    store.ledger.record(second, [row(second, PLAN, None), row(second, VISIT, "visit-9")])
    store.agenda.finish(second, None, "time")
    store.committer.submit([arrival(raw=b"B")])

    store.custody.hand_over(claim(store, clock), "bob")

    rows = {one.key: one.ehr_id for one in store.ledger.load("main", "bob")}
    assert rows == {PLAN: "plan-1", VISIT: "visit-9"}


def test_what_a_patient_says_is_kept_and_whoever_it_names_or_named_is_due(store: Store, clock: Clock) -> None:
    store.committer.submit([arrival()])
    mine = claim(store, clock)

    store.persons.note(mine, PersonRow(target="main", patient="ann", active=False), {("ann", "bob")})
    store.persons.note(mine, PersonRow(target="main", patient="ann"), {("cid", "ann")})

    assert store.persons.find("main", "ann") == PersonRow(target="main", patient="ann")
    assert store.persons.said_by("main", "ann") == {("cid", "ann")}
    assert store.persons.links_around("main", "cid") == {("cid", "ann")}
    assert [store.agenda.find("main", one) is not None for one in ("bob", "cid")] == [True, True]


def test_links_are_found_in_both_directions_and_over_others(store: Store, clock: Clock) -> None:
    for patient, links in (("ann", {("ann", "bob")}), ("cid", {("bob", "cid")})):
        store.committer.submit([arrival(f"dose-of-{patient}", patient)])
        mine = store.agenda.claim("w", lease=timedelta(seconds=60), now=clock())
        while mine is not None and mine.patient != patient:
            store.agenda.finish(mine, None, "time")
            mine = store.agenda.claim("w", lease=timedelta(seconds=60), now=clock())
        assert mine is not None
        store.persons.note(mine, PersonRow(target="main", patient=patient), links)
        store.agenda.finish(mine, None, "time")

    assert store.persons.links_around("main", "bob") == {("ann", "bob"), ("bob", "cid")}
    assert store.persons.links_around("other", "bob") == frozenset()


def test_an_artifact_of_another_course_stays(store: Store, clock: Clock) -> None:
    first = planned(store, clock)
    own = ArtifactKey(ArtifactKind.CARE_PLAN, uuid4())
    store.ledger.record(first, [row(first, own, "plan-7")])

    store.custody.give_back(first, "bob", "bob", [DOSE], {MEMBER.session_id, MEMBER.course_id})

    assert kept(store, "ann") == {own: None}
    assert kept(store, "bob") == {PLAN: "ann", VISIT: None}
