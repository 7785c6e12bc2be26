"""What is taken at the door: administrations, and what tells of doses to come and of the people and visits around them.

CarePlans and Tasks are taken as hints only: that one of ours may have changed. Nothing of them is kept.

Structure only, as for administrations: that a resource can be kept, filed under its patient and understood at all.
R4 and R5 codes are accepted (https://hl7.org/fhir/R4/medicationrequest.html, servicerequest.html, appointment.html,
encounter.html, patient.html, and the same of R5); unknown members are accepted and ignored.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice

from afterdose.core.errors import Problem
from afterdose.fhir.decode import administration, structure
from afterdose.fhir.elements import members
from afterdose.fhir.references import patient_id

_INTENTS = frozenset(
    {
        "directive",
        "filler-order",
        "instance-order",
        "option",
        "order",
        "original-order",
        "plan",
        "proposal",
        "reflex-order",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shape:
    """What a type must have. ``codes``: required elements with their codes; ``times``: dateTimes that are read."""

    codes: Mapping[str, frozenset[str]]
    times: tuple[str, ...] = ()
    subject: bool = False


_SHAPES: Mapping[str, _Shape] = {
    "Appointment": _Shape(
        codes={
            "status": frozenset(
                {
                    "arrived",
                    "booked",
                    "cancelled",
                    "checked-in",
                    "entered-in-error",
                    "fulfilled",
                    "noshow",
                    "pending",
                    "proposed",
                    "waitlist",
                }
            )
        },
        times=("start", "end"),
    ),
    "CarePlan": _Shape(
        codes={
            "status": frozenset(
                {"active", "completed", "draft", "ended", "entered-in-error", "on-hold", "revoked", "unknown"}
            )
        },
        subject=True,
    ),
    "Encounter": _Shape(
        codes={
            "status": frozenset(
                {
                    "arrived",
                    "cancelled",
                    "completed",
                    "discharged",
                    "discontinued",
                    "entered-in-error",
                    "finished",
                    "in-progress",
                    "on-hold",
                    "onleave",
                    "planned",
                    "triaged",
                    "unknown",
                }
            )
        }
    ),
    "MedicationRequest": _Shape(
        codes={
            "status": frozenset(
                {
                    "active",
                    "cancelled",
                    "completed",
                    "draft",
                    "ended",
                    "entered-in-error",
                    "on-hold",
                    "stopped",
                    "unknown",
                }
            ),
            "intent": _INTENTS,
        },
        subject=True,
    ),
    "Patient": _Shape(codes={}, times=("birthDate", "deceasedDateTime")),
    "ServiceRequest": _Shape(
        codes={
            "status": frozenset(
                {"active", "completed", "draft", "ended", "entered-in-error", "on-hold", "revoked", "unknown"}
            ),
            "intent": _INTENTS,
        },
        times=("occurrenceDateTime",),
        subject=True,
    ),
    "Task": _Shape(
        codes={
            "status": frozenset(
                {
                    "accepted",
                    "cancelled",
                    "completed",
                    "draft",
                    "entered-in-error",
                    "failed",
                    "in-progress",
                    "on-hold",
                    "ready",
                    "received",
                    "rejected",
                    "requested",
                }
            )
        }
    ),
}
TYPES = frozenset(_SHAPES) | {administration.TYPE}
"""The resource types that are taken."""
OURS = frozenset({"CarePlan", "Task"})
"""Types of which only our own are of interest: what is sent says that one may have changed, and no more."""
NAMED = OURS | {"Appointment", "ServiceRequest", administration.TYPE}
"""The types of which one that is only named by its id says something: a dose, or one of ours that may have changed."""
READ_BY_ID = TYPES - OURS - {administration.TYPE}
"""The types of which one that is only named is read by its id, and then filed under its patient."""
LISTED = ", ".join(sorted(TYPES))
"""The same for people."""


def problems(resource: object) -> tuple[Problem, ...]:
    """What keeps a resource from being accepted (the first of it); empty when nothing does."""
    type_ = resource.get("resourceType") if isinstance(resource, dict) else None
    if not isinstance(resource, dict) or type_ == administration.TYPE:
        return administration.problems(resource)
    if not isinstance(type_, str) or type_ not in TYPES:
        misspelt = not isinstance(type_, str) or type_.casefold() in {one.casefold() for one in TYPES}
        return (Problem("structure" if misspelt else "invalid", "resourceType", f"is not one of {LISTED}"),)
    return tuple(islice(_shape_problems(resource, type_, _SHAPES[type_]), structure.MOST_PROBLEMS))


def patient_of(resource: Mapping[str, object], *, base_url: str) -> str | None:
    """The id of the patient whom an accepted resource is about, on the server at ``base_url``; None where unknown.

    Of the patients of a group visit it is the first who takes part.
    """
    return next(patients_of(resource, base_url=base_url), None)


def patients_of(resource: Mapping[str, object], *, base_url: str) -> Iterator[str]:
    """The same for all patients of a group visit."""
    type_ = resource.get("resourceType")
    if type_ == "Patient":
        id_ = resource.get("id")
        own = patient_id(f"Patient/{id_}", base_url=base_url) if isinstance(id_, str) else None
        return iter((own,) if own is not None else ())
    people = [resource.get("subject")]
    if type_ == "Appointment":
        people = [*(participant.get("actor") for participant in members(resource, "participant")), *people]
    found = (patient_id(administration.subject_of(one), base_url=base_url) for one in people)
    return (id_ for id_ in found if id_ is not None)


def _shape_problems(resource: Mapping[str, object], type_: str, shape: _Shape) -> Iterator[Problem]:
    return chain(
        structure.head(resource, type_),
        *(structure.code(resource, type_, name, codes) for name, codes in shape.codes.items()),
        structure.who(resource.get("subject"), f"{type_}.subject") if shape.subject else (),
        _participants(resource) if type_ == "Appointment" else (),
        *(structure.datetime_(resource[name], f"{type_}.{name}") for name in shape.times if name in resource),
        structure.void(resource, type_),
    )


def _participants(visit: Mapping[str, object]) -> Iterator[Problem]:
    path, listed = "Appointment.participant", visit.get("participant")
    if listed is None:
        yield Problem("required", path, "is missing")
    elif not isinstance(listed, list):
        yield Problem("structure", path, "is not an array")
    else:
        for index, participant in enumerate(listed):
            if not isinstance(participant, dict):
                yield Problem("structure", f"{path}[{index}]", "is not an object")
            elif "actor" in participant:
                yield from structure.reference(participant["actor"], f"{path}[{index}].actor")
