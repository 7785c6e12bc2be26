"""Vignettes of ketamine in a hospital: psychiatry, anaesthesia, sedation, analgesia, and the traps between them."""

import json
from pathlib import Path
from typing import Any

import pytest

from afterdose.content.locate import bundled
from fhir_inputs import (
    DEPRESSION,
    ESKETAMINE_NASAL,
    INTRAVENOUS,
    KETAMINE,
    a_file,
    at,
    body_weight,
    infusion,
    milligrams,
    run,
    spray,
)

DOSE = "2026-01-05 10:00"
ICD_10_CM = "http://hl7.org/fhir/sid/icd-10-cm"
SNOMED = "http://snomed.info/sct"
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
ROLE = "http://terminology.hl7.org/CodeSystem/v3-RoleCode"
ROUTES = "http://terminology.hl7.org/CodeSystem/v3-RouteOfAdministration"
MARKS = "https://afterdose.org/fhir/CodeSystem/afterdose-mark"

Resource = dict[str, Any]


def coded(system: str, code: str) -> Resource:
    return {"coding": [{"system": system, "code": code}]}


PUSH, SUBLINGUAL, INTRAMUSCULAR = coded(ROUTES, "IVPUSH"), coded(SNOMED, "37839007"), coded(SNOMED, "78421000")
TOPICAL, SUBCUTANEOUS = {"text": "topical"}, coded(SNOMED, "34206005")
CREAM = {"text": "Amitriptyline 2% / Ketamine 1% cream"}
PROPOFOL, ROCURONIUM = coded(RXNORM, "8782"), {"text": "rocuronium 10 mg/mL inj"}
MIDAZOLAM = coded(RXNORM, "6960")
ANAESTHETICS, PAIN, PSYCHIATRY = (coded(SNOMED, code) for code in ("394577000", "394882004", "394587001"))
PERSON = {"resourceType": "Patient", "id": "pat-1", "birthDate": "1980-05-01"}


def stay(class_: str, *places: Resource, service: Resource | None = None) -> list[Resource]:
    """An encounter at kinds of places."""
    encounter: Resource = {
        "resourceType": "Encounter",
        "id": "stay",
        "status": "in-progress",
        "class": {"code": class_},
    }
    encounter |= {"serviceType": service} if service else {}
    encounter["location"] = [{"location": {"reference": f"Location/{n}"}} for n, _ in enumerate(places)]
    return [encounter, *({"resourceType": "Location", "id": str(n), "type": [one]} for n, one in enumerate(places))]


def kit() -> Resource:
    """A nasal kit in the encounter."""
    return spray("dose", DOSE, context={"reference": "Encounter/stay"})


def given(mg: float | None = 35, route: Resource | None = INTRAVENOUS, minutes: float = 40, **changes: Any) -> Resource:
    """Ketamine in the encounter, without a reason or a category of its own."""
    dosage: Resource = {} if route is None else {"route": route}
    dosage |= {} if mg is None else {"dose": milligrams(mg)}
    bare = {"category": None, "reasonCode": None, "context": {"reference": "Encounter/stay"}, "dosage": dosage}
    return infusion("dose", DOSE, minutes=minutes, **(bare | changes))


def for_depression(**changes: Any) -> Resource:
    return given(reasonCode=[DEPRESSION], **changes)


def beside(medication: Resource, start: str, **changes: Any) -> Resource:
    """Another drug at about that time."""
    return infusion("other", start, minutes=5, medicationCodeableConcept=medication, reasonCode=None, **changes)


def procedure(system: str, code: str, start: str, **changes: Any) -> Resource:
    return {
        "resourceType": "Procedure",
        "id": "procedure",
        "status": "completed",
        "code": coded(system, code),
        "subject": {"reference": "Patient/pat-1"},
        "performedDateTime": at(start),
    } | changes


def condition(system: str, code: str, **changes: Any) -> Resource:
    subject = {"reference": "Patient/pat-1"}
    return {"resourceType": "Condition", "id": "condition", "subject": subject, "code": coded(system, code)} | changes


def order(**changes: Any) -> Resource:
    return {
        "resourceType": "MedicationRequest",
        "id": "order",
        "status": "completed",
        "intent": "order",
        "subject": {"reference": "Patient/pat-1"},
        "medicationCodeableConcept": KETAMINE,
    } | changes


ORDERED = {"request": {"reference": "MedicationRequest/order"}}
AMB, INPATIENT, EMERGENCY = stay("AMB"), stay("IMP"), stay("EMER")
ER, ICU, PSYCHIATRIC_UNIT = coded(ROLE, "ER"), coded(ROLE, "ICU"), coded(ROLE, "PHU")

VIGNETTES: dict[str, tuple[list[Resource], str, str]] = {
    # psychiatric use
    "1 a nasal kit, outpatient": ([*AMB, kit()], "eligible", "nasal-esketamine"),
    "2 a nasal kit on a psychiatric ward": (
        [*stay("IMP", PSYCHIATRIC_UNIT), kit()],
        "eligible",
        "nasal-esketamine",
    ),
    "3 half a milligram per kilogram for a depression": ([*AMB, for_depression()], "eligible", "dose-within-envelope"),
    "4 the reason stands on the order alone": (
        [*AMB, order(reasonCode=[DEPRESSION]), given(**ORDERED)],
        "eligible",
        "psychiatric-indication",
    ),
    "into a muscle, 1 mg/kg": (
        [*AMB, for_depression(mg=70, route=INTRAMUSCULAR, minutes=0)],
        "eligible",
        "dose-within-envelope",
    ),
    "a troche at home": (
        [*stay("HH"), for_depression(mg=150, route=SUBLINGUAL, minutes=0)],
        "eligible",
        "dose-within-envelope",
    ),
    "7 cocaine use disorder on a psychiatric ward": (
        [*stay("IMP", PSYCHIATRIC_UNIT), given(reasonCode=[coded(ICD_10_CM, "F14.20")])],
        "eligible",
        "psychiatric-setting",
    ),
    "psychiatry by the specialty of the encounter alone": (
        [*stay("AMB", service=PSYCHIATRY), given()],
        "eligible",
        "psychiatric-setting",
    ),
    "an anaesthetist gives what psychiatry has ordered": (
        [*stay("AMB", service=ANAESTHETICS), order(reasonCode=[DEPRESSION]), given(**ORDERED)],
        "eligible",
        "psychiatric-indication",
    ),
    "midazolam beside it says nothing": (
        [*AMB, for_depression(), beside(MIDAZOLAM, "2026-01-05 09:50")],
        "eligible",
        "psychiatric-indication",
    ),
    "propofol the day before says nothing": (
        [*AMB, for_depression(), beside(PROPOFOL, "2026-01-04 09:50")],
        "eligible",
        "psychiatric-indication",
    ),
    "propofol that was not given says nothing": (
        [*AMB, for_depression(), beside(PROPOFOL, "2026-01-05 09:50", status="not-done")],
        "eligible",
        "psychiatric-indication",
    ),
    "another procedure says nothing": (
        [*AMB, for_depression(), procedure(SNOMED, "71388002", "2026-01-05 09:50")],
        "eligible",
        "psychiatric-indication",
    ),
    "a pregnancy that is over says nothing": (
        [*AMB, condition(ICD_10_CM, "Z34.90", clinicalStatus={"coding": [{"code": "resolved"}]}), for_depression()],
        "eligible",
        "psychiatric-indication",
    ),
    "a volume with a strength": (
        [
            *AMB,
            {
                "resourceType": "Medication",
                "id": "vial",
                "code": KETAMINE,
                "ingredient": [
                    {
                        "itemCodeableConcept": KETAMINE,
                        "strength": {
                            "numerator": {"value": 50, "unit": "mg", "code": "mg"},
                            "denominator": {"value": 1, "unit": "mL", "code": "mL"},
                        },
                    }
                ],
            },
            for_depression(
                medicationCodeableConcept=None,
                medicationReference={"reference": "Medication/vial"},
                dosage={"route": INTRAVENOUS, "dose": {"value": 0.7, "unit": "mL", "code": "mL"}},
            ),
        ],
        "eligible",
        "dose-within-envelope",
    ),
    "a depression by the ICD-10 of the WHO": (
        [*AMB, given(reasonCode=[{"coding": [{"system": "urn:oid:2.16.840.1.113883.6.3", "code": "F33.2"}]}])],
        "eligible",
        "psychiatric-indication",
    ),
    # a person decides
    "a bipolar depression by the ICD-10 of the WHO": (
        [*AMB, given(reasonCode=[{"coding": [{"system": "http://hl7.org/fhir/sid/icd-10", "code": "F31.4"}]}])],
        "review",
        "caution-condition",
    ),
    "5 no reason and no place": ([*AMB, given()], "review", "no-psychiatric-evidence"),
    "no encounter either": ([given(context=None)], "review", "no-psychiatric-evidence"),
    "6 a nasal kit in the emergency department": ([*EMERGENCY, kit()], "review", "emergency"),
    "a nasal kit at a place of emergency care": ([*stay("AMB", ER), kit()], "review", "emergency"),
    "a pain clinic treats a depression": (
        [*stay("AMB", service=PAIN), for_depression()],
        "review",
        "pain-setting",
    ),
    "17 sixteen years old": (
        [{**PERSON, "birthDate": "2009-06-01"}, *AMB, for_depression()],
        "review",
        "patient-minor",
    ),
    "18 pregnant": ([*AMB, condition(ICD_10_CM, "O09.90"), for_depression()], "review", "caution-condition"),
    "schizophrenia on the problem list": (
        [*AMB, condition(SNOMED, "58214004"), for_depression()],
        "review",
        "caution-condition",
    ),
    "mania on the problem list": (
        [*AMB, condition(ICD_10_CM, "F31.13"), for_depression()],
        "review",
        "caution-condition",
    ),
    "bipolar depression as the reason": (
        [*AMB, given(reasonCode=[coded(ICD_10_CM, "F31.81")])],
        "review",
        "caution-condition",
    ),
    "23 dependence on the problem list": (
        [*AMB, condition(SNOMED, "724715004"), for_depression()],
        "review",
        "caution-condition",
    ),
    "20 stopped halfway": ([*AMB, for_depression(status="stopped")], "review", "stopped-partial-dose"),
    "21 named in words only, psychiatry": (
        [*stay("AMB", coded(ROLE, "PSYCHF")), given(medicationCodeableConcept={"text": "ketamine infusion"})],
        "review",
        "drug-by-text-only",
    ),
    "blinded research": (
        [*AMB, for_depression(meta={"tag": [{"system": MARKS, "code": "research-blinded"}]})],
        "review",
        "research-blinded",
    ),
    "an infusion of twelve micrograms": ([*AMB, for_depression(mg=0.012)], "review", "dose-outside-envelope"),
    "a dose that nobody charted": ([*AMB, for_depression(mg=None)], "review", "dose-missing"),
    "two milligrams per kilogram": ([*AMB, for_depression(mg=140)], "review", "dose-outside-envelope"),
    # anaesthesia, sedation, analgesia
    "8 pain relief on a surgical ward": ([*INPATIENT, given(mg=20)], "not-eligible", "no-psychiatric-evidence"),
    "9 procedural sedation, 1.5 mg/kg pushed": (
        [*AMB, given(105, PUSH, minutes=0)],
        "not-eligible",
        "anaesthetic-dose",
    ),
    "10 analgesia in the emergency department": (
        [*EMERGENCY, given(mg=15, minutes=10)],
        "not-eligible",
        "emergency",
    ),
    "11 0.2 mg/kg/h for twelve hours in intensive care": (
        [*stay("IMP", ICU), given(168, minutes=720)],
        "not-eligible",
        "continuous-infusion",
    ),
    "12 a depression treated in intensive care": (
        [*stay("IMP", ICU), for_depression()],
        "not-eligible",
        "excluded-setting",
    ),
    "a recovery room, in words": (
        [*stay("AMB", {"text": "PACU"}), for_depression()],
        "not-eligible",
        "excluded-setting",
    ),
    "13 4 mg/kg for agitation, with a psychosis": (
        [*EMERGENCY, condition(ICD_10_CM, "F20.9"), given(280, INTRAMUSCULAR, minutes=0)],
        "not-eligible",
        "anaesthetic-dose",
    ),
    "14 a cream": (
        [*AMB, given(medicationCodeableConcept=CREAM, route=TOPICAL)],
        "not-eligible",
        "combination-product",
    ),
    "15 anaesthetic esketamine": (
        [*AMB, given(medicationCodeableConcept=coded("http://www.whocc.no/atc", "N01AX14"))],
        "not-eligible",
        "anaesthetic-product",
    ),
    "16 a depressed patient's operation: the problem list is no reason": (
        [*INPATIENT, condition(ICD_10_CM, "F33.2"), given(mg=50)],
        "not-eligible",
        "no-psychiatric-evidence",
    ),
    "19 not done": ([*AMB, for_depression(status="not-done")], "not-eligible", "not-done"),
    "22 anaesthesia for an electroconvulsive therapy": (
        [*stay("AMB", coded(ROLE, "PSY")), for_depression(), procedure(SNOMED, "23835007", "2026-01-05 11:00")],
        "not-eligible",
        "anaesthesia-or-ect",
    ),
    "an electroconvulsive therapy by its billing code": (
        [*AMB, for_depression(), procedure("http://www.ama-assn.org/go/cpt", "90870", "2026-01-05 11:00")],
        "not-eligible",
        "anaesthesia-or-ect",
    ),
    "24 propofol an hour before": (
        [*AMB, for_depression(), beside(PROPOFOL, "2026-01-05 09:00")],
        "not-eligible",
        "anaesthesia-drug-beside",
    ),
    "a muscle relaxant half an hour after, in words": (
        [*AMB, for_depression(), beside(ROCURONIUM, "2026-01-05 11:00")],
        "not-eligible",
        "anaesthesia-drug-beside",
    ),
    "an anaesthetist without a psychiatric order": (
        [*stay("AMB", service=ANAESTHETICS), given()],
        "not-eligible",
        "excluded-specialty",
    ),
    "half a day under the skin": (
        [*AMB, for_depression(route=SUBCUTANEOUS, minutes=600)],
        "not-eligible",
        "continuous-infusion",
    ),
}


@pytest.mark.parametrize(("resources", "eligibility", "reason"), VIGNETTES.values(), ids=VIGNETTES)
def test_the_vignette_is_told_for_what_it_is(
    tmp_path: Path, resources: list[Resource], eligibility: str, reason: str
) -> None:
    people = [] if any(one["resourceType"] == "Patient" for one in resources) else [PERSON]
    file = a_file(tmp_path, *people, body_weight(70, "2026-01-05 08:00"), *resources)
    document = json.loads(run("plan", "--as-of-dose", "--format", "json", file).stdout)
    dose = next(one for one in document["doses"] if one["administrations"] == ["MedicationAdministration/dose"])
    assert (dose["eligibility"], reason in dose["reasons"]) == (eligibility, True), dose["reasons"]
    made = {resource["resourceType"] for resource in document["resources"]}
    if eligibility == "eligible":
        assert {"CarePlan", "Appointment"} <= made
        assert dose["session"]["state"] == "proposed"
    else:
        assert made == ({"Task"} if eligibility == "review" else set())
        assert dose["session"] is None


def test_a_salt_is_converted_to_base(tmp_path: Path) -> None:
    salt = coded("http://fdasis.nlm.nih.gov", "O18YUO0I83")
    medication = {
        "resourceType": "Medication",
        "id": "vial",
        "code": KETAMINE,
        "ingredient": [
            {
                "itemCodeableConcept": salt,
                "strength": {
                    "numerator": {"value": 100, "unit": "mg", "code": "mg"},
                    "denominator": {"value": 1, "unit": "mL", "code": "mL"},
                },
            }
        ],
    }

    def reasons(millilitres: float) -> list[str]:
        dose = for_depression(
            medicationCodeableConcept=None,
            medicationReference={"reference": "Medication/vial"},
            dosage={"route": INTRAVENOUS, "dose": {"value": millilitres, "unit": "mL", "code": "mL"}},
        )
        file = a_file(tmp_path, PERSON, body_weight(70, "2026-01-05 08:00"), *AMB, medication, dose)
        return list(json.loads(run("plan", "--as-of-dose", "--format", "json", file).stdout)["doses"][0]["reasons"])

    assert "dose-within-envelope" in reasons(0.8)  # 80 mg of the salt are 69.4 mg, 0.99 mg/kg
    assert "dose-outside-envelope" in reasons(0.82)


def test_a_consent_is_asked_for_only_where_the_site_says_so(tmp_path: Path) -> None:
    strict = tmp_path / "strict.toml"
    text = run_clinic("example")
    strict.write_text(text.replace("consent_required = false", "consent_required = true"), encoding="utf-8")
    consent = {
        "resourceType": "Consent",
        "id": "consent",
        "status": "active",
        "scope": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "treatment"}]},
        "patient": {"reference": "Patient/pat-1"},
    }

    def outcome(*more: Resource, clinic: str = "example") -> tuple[str, bool]:
        file = a_file(tmp_path, PERSON, *AMB, for_depression(), *more)
        (dose,) = json.loads(run("plan", "--as-of-dose", "--format", "json", "--clinic", clinic, file).stdout)["doses"]
        return dose["eligibility"], "consent-missing" in dose["reasons"]

    assert outcome() == ("eligible", False)
    assert outcome(clinic=str(strict)) == ("review", True)
    assert outcome(consent, clinic=str(strict)) == ("eligible", False)
    assert outcome(consent | {"status": "rejected"}, clinic=str(strict)) == ("review", True)
    assert outcome(consent | {"status": "rejected"}) == ("eligible", False)


def run_clinic(name: str) -> str:
    """The text of a delivered clinic file."""
    return (bundled() / f"mappings/clinics/{name}.toml").read_text(encoding="utf-8")


def test_every_word_of_a_kit_is_needed_for_nothing(tmp_path: Path) -> None:
    bare = spray("dose", DOSE, medicationCodeableConcept=ESKETAMINE_NASAL, dosage=None)
    (dose,) = json.loads(run("plan", "--as-of-dose", "--format", "json", a_file(tmp_path, bare)).stdout)["doses"]
    assert (dose["eligibility"], dose["reasons"]) == ("eligible", ["nasal-esketamine"])
