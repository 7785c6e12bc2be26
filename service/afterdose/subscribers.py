"""From the settings to what subscribes at a source: what is asked, where it goes, and the secrets that come with it.

Secrets are read from their files when they are needed. The EHR is given the first of the source's secrets and the first
of its signing keys, so a new one goes in front of the old one until the EHR has it.
"""

from functools import partial
from pathlib import Path

from afterdose.content.content import Content
from afterdose.core.errors import BadSettings
from afterdose.ehr.client import EhrClient
from afterdose.fhir.subscription import SubscriptionFacts
from afterdose.settings import Settings, SourceSettings
from afterdose.store.store import Store
from afterdose.work.subscribe import Asked, Secrets, Subscriber

_FHIR = "/fhir"


def subscriber(
    source: SourceSettings, settings: Settings, content: Content, client: EhrClient, store: Store
) -> Subscriber:
    """What subscribes at a source, for which the settings have to say so. Raises BadSettings naming the key."""
    asked = source.subscribe
    if asked is None:
        raise BadSettings(f"sources.{source.name}.subscribe: expected this table; it says what is to be sent to us")
    if settings.web.base_url is None:
        raise BadSettings("web.base_url: expected the URL at which the EHR reaches this server")
    facts = content.ehr(source.ehr).subscriptions
    return Subscriber(
        source=source.name,
        target=source.target,
        endpoint=settings.web.base_url + _FHIR,
        asked=Asked(
            types=asked.types,
            form=asked.form,
            topics=asked.topics,
            content=asked.content,
            heartbeat=asked.heartbeat,
        ),
        secrets=partial(_secrets, source, facts),
        facts=facts,
        mark_system=content.canonicals.identifier_system,
        client=client,
        store=store,
    )


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
