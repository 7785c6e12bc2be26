"""What artifacts are written as, where the site decides it: the keys of ``[targets.NAME.rungs]``."""

from marshmallow import fields, validate

_RUNGS = {
    "care-plan": ("The plan of a course", ("care-plan", "document-reference", "communication")),
    "appointment": ("A session to book", ("appointment", "service-request")),
    "task": ("What staff are asked to do", ("task", "communication")),
    "goal": ("The goal of a course", ("goal",)),
    "activity": ("What is done once besides the sessions", ("task",)),
    "practice": ("What repeats, or is offered, besides the sessions", ("service-request",)),
    "provenance": ("What was written from which doses", ("provenance",)),
}


def rung_fields() -> dict[str, fields.Field[str]]:
    """One field for each artifact: the name of a rung, or worklist."""
    return {artifact: _field(what, (*names, "worklist")) for artifact, (what, names) in _RUNGS.items()}


def _field(what: str, names: tuple[str, ...]) -> fields.String:
    listed = ", ".join(names)
    return fields.String(
        load_default=None,
        validate=validate.OneOf(names, error=f"expected one of {listed}"),
        error_messages={"invalid": "expected text"},
        metadata={"help": f"{what}: {listed}."},
    )
