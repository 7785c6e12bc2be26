"""From the settings to what is known of those who send: the keys of their tokens, and what their own codes mean."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from afterdose.content.codes import read_local_codes
from afterdose.core.errors import BadContent, BadSettings
from afterdose.ehr.outbound import Outbound
from afterdose.ehr.sender_keys import FetchedKeys, FileKeys, SenderKeys
from afterdose.ehr.wire import Request
from afterdose.fhir.decode.local_codes import LocalCodes
from afterdose.settings import BearerSettings, Settings, SourceSettings


def sender_keys(settings: Settings) -> Mapping[str, SenderKeys]:
    """By source, the keys of those whose tokens are taken; of URLs nothing is fetched yet. Raises BadSettings."""
    tokens = {name: source.bearer for name, source in settings.sources.items() if source.bearer is not None}
    return {name: _pinned(f"sources.{name}.bearer", one) for name, one in tokens.items()}


def _pinned(key: str, bearer: BearerSettings) -> SenderKeys:
    if bearer.jwks_file is not None:
        return FileKeys(bearer.jwks_file, key=f"{key}.jwks_file")
    place = _KeyServer(bearer.jwks_url or "", bearer.ca_bundle, bearer.proxy)
    way = Outbound(place, connections=1)
    asked = Request(method="GET", url=place.base_url, template="jwks", headers={"Accept": "application/json"})
    return FetchedKeys(lambda: way.send(asked), key=f"{key}.jwks_url")


@dataclass(frozen=True, slots=True)
class _KeyServer:
    """Where a sender's keys are fetched: a request of a sender may wait for it, so it is not given long."""

    base_url: str
    ca_bundle: Path | None
    proxy: str | None
    timeout_connect: timedelta = timedelta(seconds=5)
    timeout_read: timedelta = timedelta(seconds=8)
    deadline: timedelta = timedelta(seconds=10)
    max_answer_bytes: int = 262_144
    plain_http: bool = False


def local_codes(source: SourceSettings, overlay: Path | None) -> LocalCodes:
    """What the own codes of a source mean. Raises BadSettings that names the setting."""
    try:
        return read_local_codes(source.code_maps, overlay)
    except BadContent as error:
        raise BadSettings(f"sources.{source.name}.code_maps: {error}") from None
