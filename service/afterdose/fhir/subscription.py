"""The Subscriptions by which we ask an EHR to notify us: how each is written, and what one that was read says.

Three forms: R4's own with search criteria (https://hl7.org/fhir/R4/subscription.html), the back-port of topics to R4
(https://hl7.org/fhir/uv/subscriptions-backport/) and R5 (https://hl7.org/fhir/R5/subscription.html). No criteria name a
status: a Subscription does not tell of what ceases to match, so corrections would not come.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID, uuid5

from afterdose.core.errors import BadInput
from afterdose.fhir.elements import member, members, number, text
from afterdose.fhir.times import parse_instant

Resource = Mapping[str, object]
Form = Literal["criteria", "topic-r4", "topic-r5"]
FORMS: tuple[Form, ...] = ("criteria", "topic-r4", "topic-r5")
Content = Literal["id-only", "full-resource", "empty"]
CONTENTS: tuple[Content, ...] = ("id-only", "full-resource", "empty")

TYPE = "Subscription"
STATUSES = frozenset({"active", "entered-in-error", "error", "off", "requested"})
"""https://hl7.org/fhir/R5/valueset-subscription-status.html; whatever else is said is no status."""
DELETIONS = "deletions"
"""The variant for EHRs that tell of deletions by a Subscription of their own only."""

_BACKPORT = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/"
_FHIR_JSON = "application/fhir+json"
_MARKS = UUID("6d0c1c0e-7d0f-5f0b-9c39-1d0e4a6a6f0b")
_CHANNEL_TYPES = "http://terminology.hl7.org/CodeSystem/subscription-channel-type"


@dataclass(frozen=True, slots=True, kw_only=True)
class Addition:
    """An extension that a product wants. ``on_channel``: on ``channel`` and not on the Subscription itself.

    ``variant``: it makes a second Subscription of each type, beside the one without it. ``{secret}`` in the value
    stands for the secret that notifications are signed with; without one, the extension is left out.
    """

    url: str
    value: Mapping[str, object]
    on_channel: bool = False
    variant: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionFacts:
    """How a product takes Subscriptions. ``form`` None: as its version of FHIR says. ``offered``: whether it does.

    ``numbers``: whether the events of one are numbered as they should be. ``activates``: whether it activates one
    that is ``requested``, as FHIR has it; where it does not, ours are written as active.
    """

    offered: bool = True
    form: Form | None = None
    numbers: bool = True
    activates: bool = True
    additions: Sequence[Addition] = field(default_factory=tuple)

    @property
    def variants(self) -> tuple[str | None, ...]:
        """Which Subscriptions there are of each type."""
        return (None, *sorted({one.variant for one in self.additions if one.variant is not None}))

    @property
    def good(self) -> tuple[str, ...]:
        """The statuses of one that is active or will be; the first is the one that ours are written with."""
        return ("requested", "active") if self.activates else ("active",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One Subscription that we want. ``mark``: by which ours are known again. ``headers``: what is sent with every
    notification, so each holds a secret; ``secret``: what notifications are signed with.
    """

    resource_type: str
    variant: str | None
    form: Form
    mark: UUID
    endpoint: str
    topic: str | None
    content: Content
    heartbeat: timedelta
    headers: Sequence[tuple[str, str]] = ()
    secret: str | None = None


def mark_of(endpoint: str, source: str, type_: str, variant: str | None) -> UUID:
    """The mark of the Subscription of one type that sends to us for one source: always the same."""
    return uuid5(_MARKS, "\n".join((endpoint, source, type_, variant or "")))


def written(wanted: Wanted, facts: SubscriptionFacts, mark_system: str) -> dict[str, Any]:
    """The resource, with the status ``requested`` where the EHR activates it, otherwise ``active``."""
    chosen = [one for one in facts.additions if one.variant in (None, wanted.variant)]
    made: dict[str, Any] = {
        "resourceType": TYPE,
        "meta": {"tag": [{"system": mark_system, "code": str(wanted.mark)}]},
        "extension": list(_extensions([one for one in chosen if not one.on_channel], wanted.secret)),
        "status": facts.good[0],
        "reason": f"afterdose: {wanted.resource_type}{', deletions' if wanted.variant == DELETIONS else ''}",
    }
    if wanted.form == "topic-r4":
        made["meta"] = {"profile": [f"{_BACKPORT}backport-subscription"], **made["meta"]}
    if wanted.form == "topic-r5":
        made |= _r5(wanted, mark_system)
    else:
        made |= _r4(wanted, list(_extensions([one for one in chosen if one.on_channel], wanted.secret)))
    return {name: value for name, value in made.items() if value != []}


def _r4(wanted: Wanted, extensions: list[dict[str, Any]]) -> dict[str, Any]:
    channel: dict[str, Any] = {
        "extension": extensions,
        "type": "rest-hook",
        "endpoint": wanted.endpoint,
        "payload": _FHIR_JSON,
        "header": [f"{name}: {value}" for name, value in wanted.headers],
    }
    made: dict[str, Any] = {"criteria": f"{wanted.resource_type}?"}
    if wanted.form == "topic-r4":
        seconds = round(wanted.heartbeat.total_seconds())
        channel["extension"] = [
            *extensions,
            {"url": f"{_BACKPORT}backport-heartbeat-period", "valueUnsignedInt": seconds},
        ]
        content = {"url": f"{_BACKPORT}backport-payload-content", "valueCode": wanted.content}
        channel["_payload"] = {"extension": [content]}
        filtered = {"url": f"{_BACKPORT}backport-filter-criteria", "valueString": f"{wanted.resource_type}?"}
        made = {"criteria": wanted.topic, "_criteria": {"extension": [filtered]}}
    return made | {"channel": {name: value for name, value in channel.items() if value != []}}


def _r5(wanted: Wanted, mark_system: str) -> dict[str, Any]:
    made: dict[str, Any] = {
        "identifier": [{"system": mark_system, "value": str(wanted.mark)}],
        "topic": wanted.topic,
        "channelType": {"system": _CHANNEL_TYPES, "code": "rest-hook"},
        "endpoint": wanted.endpoint,
        "parameter": [{"name": name, "value": value} for name, value in wanted.headers],
        "heartbeatPeriod": round(wanted.heartbeat.total_seconds()),
        "contentType": _FHIR_JSON,
        "content": wanted.content,
    }
    return {name: value for name, value in made.items() if value != []}


def _extensions(additions: Sequence[Addition], secret: str | None) -> Iterator[dict[str, Any]]:
    for one in additions:
        needs_secret = "{secret}" in one.value.values()
        if needs_secret and secret is None:
            continue
        value = {name: secret if said == "{secret}" else said for name, said in one.value.items()}
        yield {"url": one.url, **value}


def tags(resource: Resource, system: str) -> set[str]:
    """The marks that a Subscription carries: tags, and what R5 has as identifiers."""
    said = [(text(one, "system"), text(one, "code")) for one in members(member(resource, "meta"), "tag")]
    said += [(text(one, "system"), text(one, "value")) for one in members(resource, "identifier")]
    return {value for system_, value in said if system_ == system and value is not None}


def differs(found: Resource, made: Resource) -> bool:
    """Whether what stands in the EHR is another Subscription than the one we would write.

    Status and end are the EHR's. Secrets are not compared where the EHR does not show them.
    """
    return any(not _holds(found.get(name), value) for name, value in made.items() if name not in ("meta", "status"))


def _holds(found: object, wanted: object) -> bool:
    """Whether ``found`` says at least what ``wanted`` does; the order of lists does not matter."""
    if isinstance(wanted, Mapping):
        return isinstance(found, Mapping) and all(
            _holds(found.get(name), value) for name, value in wanted.items() if name not in _UNSEEN or name in found
        )
    if isinstance(wanted, list):
        return isinstance(found, list) and all(any(_holds(one, value) for one in found) for value in wanted)
    return found == wanted


_UNSEEN = frozenset({"header", "parameter"})


@dataclass(frozen=True, slots=True)
class Standing:
    """What a Subscription says of itself."""

    status: str | None
    ends_at: datetime | None
    heartbeat: timedelta | None


def standing(resource: Resource) -> Standing:
    """Read one, of R4 or R5."""
    seconds = number(resource, "heartbeatPeriod")
    for one in members(member(resource, "channel"), "extension"):
        if text(one, "url") == f"{_BACKPORT}backport-heartbeat-period":
            seconds = number(one, "valueUnsignedInt")
    try:
        ends_at = parse_instant(text(resource, "end") or "")
    except BadInput:
        ends_at = None
    heartbeat = timedelta(seconds=int(seconds)) if seconds is not None and 0 < seconds < 10**8 else None
    return Standing(status_of(text(resource, "status")), ends_at, heartbeat)


def status_of(said: str | None) -> str | None:
    """A status that is one."""
    return said if said in STATUSES else None
