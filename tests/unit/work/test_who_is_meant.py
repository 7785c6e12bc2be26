"""Who the patients of an input are, and what that changes of what is decided for them."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from afterdose.content.content import load_content
from afterdose.core.reasons import Outcome, Reason
from afterdose.fhir.decode.offline import Entry, Pool
from afterdose.work.reports.preview import Preview, Site, heard_now

NOW = datetime(2026, 1, 5, 16, tzinfo=UTC)


def patient(id_: str, **said: object) -> dict[str, object]:
    return {"resourceType": "Patient", "id": id_, "birthDate": "1980-02-01", **said}


def dose(id_: str, person: str, day: str) -> dict[str, object]:
    return {
        "resourceType": "MedicationAdministration",
        "id": id_,
        "status": "completed",
        "medicationCodeableConcept": {
            "coding": [{"system": "http://www.nlm.nih.gov/research/umls/rxnorm", "code": "6130"}]
        },
        "subject": {"reference": f"Patient/{person}"},
        "effectivePeriod": {"start": f"{day}T10:00:00-05:00", "end": f"{day}T10:40:00-05:00"},
        "reasonCode": [{"coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "F33.2"}]}],
        "dosage": {
            "route": {"coding": [{"system": "http://snomed.info/sct", "code": "47625008"}]},
            "dose": {"value": 35, "unit": "mg", "system": "http://unitsofmeasure.org", "code": "mg"},
        },
    }


def decided(*resources: dict[str, object]) -> tuple[Preview, ...]:
    content = load_content()
    clinic = content.clinic("example-7-days")
    site = Site(codes=content.codes, protocols=content.protocols, clinic=clinic, zone=ZoneInfo("America/New_York"))
    return heard_now(Pool(Entry(one) for one in resources), site, NOW)


def test_doses_of_merged_records_are_one_course_of_the_survivor() -> None:
    merged = patient("a", active=False, link=[{"other": {"reference": "Patient/b"}, "type": "replaced-by"}])

    (preview,) = decided(merged, patient("b"), dose("1", "a", "2026-01-03"), dose("2", "b", "2026-01-05"))

    assert preview.patient == "b"
    assert len({verdict.course_id for verdict in preview.verdicts}) == 1
    assert len(preview.care.plans) == 1


def test_nothing_is_planned_for_one_who_died() -> None:
    (preview,) = decided(patient("a", deceasedBoolean=True), dose("1", "a", "2026-01-05"))

    (verdict,) = preview.verdicts
    assert verdict.outcome is Outcome.UNMET
    assert Reason.PATIENT_DECEASED in verdict.reasons
    assert (preview.care.plans, preview.care.appointments) == ((), ())


def test_a_record_out_of_use_and_one_whose_links_lead_round_are_for_a_person() -> None:
    round_ = [
        patient("a", link=[{"other": {"reference": "Patient/b"}, "type": "replaced-by"}]),
        patient("b", link=[{"other": {"reference": "Patient/a"}, "type": "replaced-by"}]),
    ]
    unused = patient("c", active=False)

    first, second = decided(*round_, unused, dose("1", "a", "2026-01-05"), dose("2", "c", "2026-01-05"))

    assert first.verdicts[0].reasons[-1] is Reason.PATIENT_LINKS_UNCLEAR
    assert second.verdicts[0].reasons[-1] is Reason.PATIENT_INACTIVE
    assert (first.care.plans, second.care.plans) == ((), ())
