"""What a person is asked to do, as a FHIR R4 Task (https://hl7.org/fhir/R4/task.html). Pure; every text is neutral."""

from collections.abc import Mapping

from afterdose.core.care import ArtifactKind, DesiredTask
from afterdose.core.reasons import Reason
from afterdose.fhir.encode.care import Letterhead, Resource, concept
from afterdose.fhir.times import format_instant, format_local

_WORDS: Mapping[ArtifactKind, str] = {
    ArtifactKind.REVIEW_TASK: "Please decide whether follow-up care is to be planned after this treatment",
    ArtifactKind.UNMET_TASK: "No follow-up session fits before the window closes: please find another way",
    ArtifactKind.BOOKED_TASK: "A booked follow-up session may no longer fit: please check it with the patient",
    ArtifactKind.WARNING_TASK: "No session fits beside a planned treatment: please look at it before its day",
    ArtifactKind.GUARANTEE_TASK: "This treatment week has no follow-up session and is owed one: please arrange it",
    ArtifactKind.WAITING_TASK: "A treatment was begun in the record and not ended: please complete the record",
    ArtifactKind.MERGED_TASK: "Two records of this patient were merged and follow-up care stands under the former one: "
    "please move it to this record or end it there; software does neither",
}

_WHERE_UNMET: Mapping[Reason, str] = {
    Reason.VISIT_MISSED: "A booked follow-up session was missed or cancelled: please arrange another one",
    Reason.COURSE_ENDED_BY_PERSON: "A treatment was given after the plan of its course was ended: please decide "
    "whether a follow-up session is wanted",
    Reason.RETRIES_EXHAUSTED: "A follow-up session could not be proposed in time: please find another way",
}
"""What an unmet session asks for where it is not for want of time."""
_SPEAK_FOR_IT = frozenset(
    {
        Reason.ENROLLED_PROTOCOL,
        Reason.PSYCHIATRIC_INDICATION,
        Reason.PSYCHIATRIC_SETTING,
        Reason.NASAL_ESKETAMINE,
        Reason.DOSE_WITHIN_ENVELOPE,
    }
)
"""What speaks for follow-up care: said after what a person is asked to decide about."""
_TIME_UNSURE = frozenset(
    {
        Reason.DATE_ONLY,
        Reason.TIME_TOO_COARSE,
        Reason.ZONE_UNKNOWN,
        Reason.TIME_IN_FUTURE,
        Reason.TIME_IMPLAUSIBLE,
        Reason.PERIOD_TOO_LONG,
        Reason.PERIOD_REVERSED,
    }
)
_FORMER = "Former patient record"


def task(desired: DesiredTask, head: Letterhead) -> Resource:
    """A Task for a person (https://hl7.org/fhir/R4/task.html); the deadline is restriction.period.end."""
    why = map(head.words.reason_text, sorted(desired.reasons, key=_SPEAK_FOR_IT.__contains__))
    heard_at = desired.verdict.heard_at if desired.verdict else desired.planned.heard_at if desired.planned else None
    resource: Resource = {
        "resourceType": "Task",
        "meta": head.meta(labels=desired.labels),
        "identifier": [head.identifier(desired.key)],
        "status": "cancelled" if desired.cancelled else "requested",
        "intent": "proposal",
        "priority": "routine",
        "code": concept(head.codes.outbound[str(desired.key.kind)]),
        "description": f"{_asked(desired)}.{_which(desired, head)}",
        "for": {"reference": f"Patient/{desired.patient or head.patient}"},
        "requester": head.author(),
        "reasonCode": {"text": "; ".join(why)},
    }
    if desired.former is not None:
        resource["input"] = [{"type": {"text": _FORMER}, "valueReference": {"reference": f"Patient/{desired.former}"}}]
    if (focus := _focus(desired, head)) is not None:
        resource["focus"] = focus
    if heard_at is not None:
        resource["authoredOn"] = format_instant(heard_at)
    if (pool := head.pool()) is not None:
        resource["owner"] = pool
    if desired.due is not None:
        resource["restriction"] = {"period": {"end": format_instant(desired.due)}}
    if desired.course is not None:
        resource["basedOn"] = [head.logical(desired.course)]
    if desired.cancelled:
        resource["statusReason"] = {"text": "No longer needed"}
    return resource


def _asked(desired: DesiredTask) -> str:
    if desired.key.kind is ArtifactKind.UNMET_TASK:
        other = next((_WHERE_UNMET[reason] for reason in desired.reasons if reason in _WHERE_UNMET), None)
        if other is not None:
            return other
    return _WORDS[desired.key.kind]


def _which(desired: DesiredTask, head: Letterhead) -> str:
    """Which treatment it is about, where its time is known: a patient may have several in a week."""
    zone, verdict = head.words.clinic.zone, desired.verdict
    if desired.planned is not None:
        return f" Planned treatment: {format_local(desired.planned.at, zone)}."
    if verdict is None or desired.key.kind is ArtifactKind.GUARANTEE_TASK or _TIME_UNSURE & set(verdict.reasons):
        return ""
    given = verdict.anchor or verdict.start
    return f" Treatment: {format_local(given, zone)}." if given is not None else ""


def _focus(desired: DesiredTask, head: Letterhead) -> Resource | None:
    """What the Task is about: an artifact, the dose, or the order that announces it."""
    if desired.focus is not None and desired.focus in head.references:
        return {"reference": head.references[desired.focus]}
    if desired.verdict is not None:
        return head.dose(desired.verdict.founder)
    order = desired.planned.order if desired.planned is not None else None
    return head.of_source(order.source, order.id) if order is not None else None
