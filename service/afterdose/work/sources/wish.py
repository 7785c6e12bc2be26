"""What is wanted of a source: which Subscriptions, where they send to, what they show us, and by which marks they are
known as ours. Nothing here writes."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from afterdose.core.errors import BadSettings, EhrRefused
from afterdose.ehr.answers import Resource
from afterdose.ehr.client import EhrClient
from afterdose.ehr.interactions import Interaction
from afterdose.fhir.subscription import TYPE, Content, Form, SubscriptionFacts, Wanted, mark_of, tags

_R5 = ("5.", "6.")
_PAGE = "100"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is asked of a source. ``form`` None: as its product and version have it. ``topics``: by resource type."""

    types: frozenset[str]
    form: Form | None
    topics: Mapping[str, str]
    content: Content
    heartbeat: timedelta


@dataclass(frozen=True, slots=True)
class Secrets:
    """What notifications show: headers, and the key that they are signed with."""

    headers: tuple[tuple[str, str], ...] = ()
    key: str | None = None

    @property
    def all(self) -> tuple[str, ...]:
        """Everything that must not be shown."""
        return (*(value for _, value in self.headers), *([self.key] if self.key is not None else []))

    def __repr__(self) -> str:
        return "Secrets(...)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """One source, and what is wanted of it. ``mark_system``: the system of the marks.

    ``may_ask_for``: the types that can be wanted at all, now or before. ``endpoint``: where notifications go.
    ``secrets`` reads them anew each time, so that none is kept here.
    """

    source: str
    target: str
    endpoint: str
    asked: Asked
    may_ask_for: tuple[str, ...]
    secrets: Callable[[], Secrets]
    facts: SubscriptionFacts
    mark_system: str
    client: EhrClient

    def wanted(self) -> list[Wanted]:
        """One Subscription for each type, and one more for its deletions where the product wants that.

        Raises BadSettings that says what is missing, EhrError.
        """
        asked, secrets, form = self.asked, self.secrets(), self._form(self.asked.form)
        if form != "criteria" and not asked.topics:
            key = f"sources.{self.source}.subscribe.topic"
            raise BadSettings(f"{key}: expected the topic's canonical URL, because this EHR has topics")
        return [
            Wanted(
                resource_type=type_,
                variant=variant,
                form=form,
                mark=mark_of(self.endpoint, self.source, type_, variant),
                endpoint=self.endpoint,
                topic=asked.topics.get(type_),
                content=asked.content,
                heartbeat=asked.heartbeat,
                headers=secrets.headers,
                secret=secrets.key,
            )
            for type_ in sorted(asked.types)
            for variant in self.facts.variants
        ]

    def marks(self) -> dict[str, str]:
        """The marks of the wanted Subscriptions, and the type that each tells of."""
        chosen = ((type_, variant) for type_ in sorted(self.asked.types) for variant in self.facts.variants)
        return {str(mark_of(self.endpoint, self.source, type_, variant)): type_ for type_, variant in chosen}

    def marks_of(self, resource: Resource) -> set[str]:
        """The marks that a Subscription carries."""
        return tags(resource, self.mark_system)

    def listed(self) -> dict[str, Resource]:
        """What the source lists of ours for this source, by id. Raises EhrError."""
        ours = {str(mark) for mark, _ in self.possible_marks()}
        found = self.client.search(TYPE, {"_count": _PAGE})
        return {str(one.get("id")): one for one in found if ours & self.marks_of(one)}

    def possible_marks(self) -> Iterator[tuple[UUID, str]]:
        """The marks that may be ours for this source, and what they are for, whatever the settings want of it now."""
        for type_ in self.may_ask_for:
            for variant in self.facts.variants:
                yield mark_of(self.endpoint, self.source, type_, variant), type_

    def _form(self, asked: Form | None) -> Form:
        declared = self.client.capabilities()
        if not self.facts.offered or not declared.allows(TYPE, Interaction.CREATE):
            raise EhrRefused("this EHR takes no Subscription: it has to be polled", code="not-supported")
        return asked or self.facts.form or ("topic-r5" if declared.fhir_version.startswith(_R5) else "criteria")
