"""From the settings to what subscribes at a source: what is asked, where it goes, and the secrets that come with it.

Secrets are read from their files when they are needed. The EHR is given the first of the source's secrets and the first
of its signing keys, so a new one goes in front of the old one until the EHR has it.
"""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from afterdose.content.content import Content
from afterdose.content.ehrs import read_ehr
from afterdose.core.errors import BadSettings
from afterdose.ehr.client import EhrClient
from afterdose.fhir.decode.administration import TYPE as ADMINISTRATION
from afterdose.fhir.subscription import SubscriptionFacts
from afterdose.settings import ClientSecret, Settings, Smart, SourceSettings, is_loopback
from afterdose.settings.subscribing import TYPES
from afterdose.store.store import Store
from afterdose.work.intake.hearing import Hearing
from afterdose.work.intake.reception import Origin
from afterdose.work.sources.follow import Followed, Follower
from afterdose.work.sources.named import NamedReader
from afterdose.work.sources.polled import Finds, Polled
from afterdose.work.sources.recover import Recovery
from afterdose.work.sources.subscribe import Subscriber
from afterdose.work.sources.wish import Asked, Secrets, Wish

_FHIR = "/fhir"
_OVERLAP = timedelta(minutes=15)
"""How much before what was lost is asked for, at a source that is not polled."""
_CHECK_INTERVAL = timedelta(minutes=5)
"""How often Subscriptions that others made are looked at."""


def hearing(settings: Settings, store: Store) -> Hearing:
    """What keeps what notifications say of themselves, over an open store."""
    facts = {name: read_ehr(name, settings.site_overlay) for name in {one.ehr for one in settings.sources.values()}}
    counting = {one.name for one in settings.sources.values() if facts[one.ehr].subscriptions.numbers}
    return Hearing(store.subscriptions, counting.__contains__)


def wish(source: SourceSettings, settings: Settings, content: Content, client: EhrClient) -> Wish:
    """What is wanted of a source, for which the settings have to say so. Raises BadSettings naming the key."""
    return Wish(**_wish(source, settings, content, client))


def subscriber(
    source: SourceSettings,
    settings: Settings,
    content: Content,
    client: EhrClient,
    *,
    store: Store,
    clock: Callable[[], datetime],
) -> Subscriber:
    """What brings a source to that. Raises BadSettings naming the key."""
    return Subscriber(**_wish(source, settings, content, client), store=store, clock=clock)


def _has_scopes(source: SourceSettings, settings: Settings) -> bool:
    """Whether the server of a source is shown tokens; without [subscribe] these do not cover Subscriptions."""
    auth = source.auth or settings.targets[source.target].auth
    return isinstance(auth, Smart | ClientSecret)


def _wish(source: SourceSettings, settings: Settings, content: Content, client: EhrClient) -> dict[str, Any]:
    asked = source.subscribe
    if asked is None:
        raise BadSettings(f"sources.{source.name}.subscribe: expected this table; it says what is to be sent to us")
    if settings.web.base_url is None:
        raise BadSettings("web.base_url: expected the URL at which the EHR reaches this server")
    parts, target = urlsplit(settings.web.base_url), settings.targets[source.target]
    if parts.scheme == "http" and not (is_loopback(parts.hostname or "") or source.plain_http or target.plain_http):
        raise BadSettings("web.base_url: expected https://, because the EHR sends doses and a secret there")
    facts = content.ehr(source.ehr).subscriptions
    return {
        "source": source.name,
        "target": source.target,
        "endpoint": settings.web.base_url + _FHIR,
        "asked": Asked(
            types=asked.types, form=asked.form, topics=asked.topics, content=asked.content, heartbeat=asked.heartbeat
        ),
        "may_ask_for": TYPES,
        "secrets": partial(_secrets, source, facts),
        "facts": facts,
        "mark_system": content.canonicals.identifier_system,
        "client": client,
    }


def follower(
    source: SourceSettings,
    settings: Settings,
    content: Content,
    client: EhrClient,
    *,
    store: Store,
    clock: Callable[[], datetime],
    stop: threading.Event,
) -> Follower:
    """What follows the Subscriptions of a source, those that we make and those that others made; not started."""
    asked, poll = source.subscribe, source.poll
    polled = Polled(
        origin=Origin(source.name, source.target, source.base_url),
        client=client,
        types=asked.types if asked is not None else frozenset({ADMINISTRATION}),
        interval=poll.interval if poll is not None else _OVERLAP,
        overlap=poll.overlap if poll is not None else _OVERLAP,
        look_back=poll.look_back if poll is not None else _OVERLAP,
        identifier_system=content.canonicals.identifier_system,
    )
    recovery = Recovery(
        polled=polled,
        polls=poll is not None,
        searchable=content.ehr(source.ehr).last_updated,
        may_ask=asked is not None or not _has_scopes(source, settings),
        store=store,
        clock=clock,
    )
    owner = str(uuid4())
    finds = Finds(polled, store=store, clock=clock)
    reader = NamedReader(polled=polled, finds=finds, store=store, owner=owner, clock=clock)
    followed = Followed(
        source=source.name,
        target=source.target,
        recovery=recovery,
        reader=reader,
        subscriber=subscriber(source, settings, content, client, store=store, clock=clock) if asked else None,
        check_interval=asked.check_interval if asked is not None else _CHECK_INTERVAL,
    )
    return Follower(followed, store=store, owner=owner, clock=clock, stop=stop)


def _secrets(source: SourceSettings, facts: SubscriptionFacts) -> Secrets:
    """Raises BadSettings where the EHR cannot be given what it has to show us."""
    headers: tuple[tuple[str, str], ...] = ()
    key = f"sources.{source.name}"
    if source.secrets:
        first = source.secrets[0]
        value = _content(first.file, f"{key}.secrets[0]")
        headers = ((first.header, f"{first.scheme} {value}" if first.scheme else value),)
    if not source.signatures:
        return Secrets(headers)
    if not any("{secret}" in one.value.values() for one in facts.additions):
        expected = "expected none, because this EHR is not known to take a key for signatures in a Subscription"
        raise BadSettings(f"{key}.signatures: {expected}")
    return Secrets(headers, _content(source.signatures[0].file, f"{key}.signatures[0]"))


def _content(file: Path | None, key: str) -> str:
    if file is None:
        raise BadSettings(f"{key}: expected a file (value_file), because the EHR has to be given what is in it")
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise BadSettings(f"{key}: the file cannot be read ({error.strerror})") from error
