"""From the settings to what polls a source: by what changed, or patient by patient as the EHR can be asked."""

import threading
from collections.abc import Callable
from datetime import datetime
from uuid import uuid4

from afterdose.content.content import Content
from afterdose.core.errors import BadSettings
from afterdose.ehr.client import EhrClient
from afterdose.fhir.encode.rungs import CohortKind
from afterdose.settings import CohortSettings, PollSettings, SourceSettings
from afterdose.store.store import Store
from afterdose.work.intake.reception import Origin
from afterdose.work.sources.cohort import Asked, CohortSweeper
from afterdose.work.sources.polled import Polled
from afterdose.work.sources.roster import Roster
from afterdose.work.sources.sweep import Sweeper

_READ_BY_ID = "Patient"


def poller(
    source: SourceSettings,
    client: EhrClient,
    content: Content,
    *,
    store: Store,
    clock: Callable[[], datetime],
    stop: threading.Event,
) -> Sweeper | CohortSweeper:
    """What polls a source as its settings say, not started. Raises BadSettings that names the key."""
    poll = checked(source, content)
    polled = Polled(
        origin=Origin(source.name, source.target, source.base_url),
        client=client,
        types=poll.types,
        interval=poll.interval,
        overlap=poll.overlap,
        look_back=poll.look_back,
        identifier_system=content.canonicals.identifier_system,
    )
    owner = str(uuid4())
    if poll.cohort is None:
        return Sweeper(polled, store=store, owner=owner, clock=clock, stop=stop)
    facts = content.ehr(source.ehr)
    ways = {type_: way for type_ in poll.types if (way := facts.of(type_).poll) is not None}
    asked = Asked(polled=polled, roster=roster(source, poll, poll.cohort, client), ways=ways)
    return CohortSweeper(asked, store=store, owner=owner, clock=clock, stop=stop)


def roster(source: SourceSettings, poll: PollSettings, cohort: CohortSettings, client: EhrClient) -> Roster:
    """Where the patients of a source's cohort stand."""
    return Roster(
        client=client,
        base_url=source.base_url,
        groups=cohort.groups,
        lists=cohort.lists,
        visits_at=cohort.visits_at,
        file=cohort.file,
        zone=source.zone,
        look_back=poll.look_back,
    )


def checked(source: SourceSettings, content: Content) -> PollSettings:
    """The polling, where the EHR is one that can be asked like that. Raises BadSettings."""
    key, poll = f"sources.{source.name}.poll", source.poll
    if poll is None:
        raise BadSettings(f"{key}: expected a table")
    facts = content.ehr(source.ehr)
    if poll.cohort is None:
        if not facts.last_updated:
            raise BadSettings(f'{key}.strategy: expected "cohort", because {facts.title} cannot be asked what changed')
        return poll
    for kind in CohortKind:
        if getattr(poll.cohort, kind.value) and kind not in facts.cohorts:
            known = " or ".join(sorted(facts.cohorts))
            raise BadSettings(f"{key}.cohort.{kind.value}: {facts.title} cannot be asked for it; expected {known}")
    for type_ in sorted(poll.types):
        if type_ != _READ_BY_ID and facts.of(type_).poll is None:
            raise BadSettings(f"{key}.types: {facts.title} cannot be asked for a patient's {type_}")
    return poll
