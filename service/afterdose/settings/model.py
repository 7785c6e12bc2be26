"""The settings as values: what every part of afterdose is told when it is built. Nothing here reads a file."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

from afterdose.settings.bearer import BearerSettings
from afterdose.settings.mllp import MllpSettings
from afterdose.settings.polling import PollSettings
from afterdose.settings.signatures import SigningKey
from afterdose.settings.subscribing import SubscribeSettings


@dataclass(frozen=True, slots=True)
class SenderSecret:
    """A secret that a sender shows us; only its digest is kept, so nothing can print the secret itself.

    ``scheme`` is the word before the secret in the header (``Bearer``), None where the header holds the secret alone.
    ``file``: where it was read from, None where it stood in the settings themselves.
    """

    header: str
    scheme: str | None
    sha256: bytes
    file: Path | None = field(default=None, compare=False)

    @classmethod
    def of(
        cls, value: str, *, header: str = "Authorization", scheme: str | None = "Bearer", file: Path | None = None
    ) -> "SenderSecret":
        """Keep the digest of ``value``."""
        return cls(header=header, scheme=scheme, sha256=hashlib.sha256(value.encode()).digest(), file=file)


@dataclass(frozen=True, slots=True)
class StaticHeader:
    """A header that an EHR wants to see with every call; the value never shows in a representation."""

    header: str
    value: str

    def __repr__(self) -> str:
        return f"StaticHeader(header={self.header!r}, value='...')"


@dataclass(frozen=True, slots=True)
class Smart:
    """SMART Backend Services: what the EHR knows us by. What is None is discovered, or taken from our own keys."""

    client_id: str
    key_file: Path | None
    key_id: str | None
    algorithm: str | None
    token_url: str | None
    scopes: tuple[str, ...] | None
    audience: str | None


@dataclass(frozen=True, slots=True)
class ClientSecret:
    """OAuth 2.0 client credentials with a secret, in a header or ``in_form``."""

    client_id: str
    secret: str = field(repr=False)
    in_form: bool
    token_url: str | None
    scopes: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class NoAuthentication:
    """The site says that this EHR wants no credentials."""


Authentication = StaticHeader | Smart | ClientSecret | NoAuthentication


@dataclass(frozen=True, slots=True)
class WebSettings:
    """The server that senders talk to. ``base_url`` is how others reach it, where that differs."""

    host: str
    port: int
    processes: int
    threads: int
    one_cpu_each: bool
    max_body_bytes: int
    header_timeout: timedelta
    body_timeout: timedelta
    stop_timeout: timedelta
    base_url: str | None


@dataclass(frozen=True, slots=True)
class WorkSettings:
    """The workers that bring the EHRs into line with the facts."""

    threads: int
    poll_interval: timedelta
    lease: timedelta
    retry_for: timedelta
    retry_cap: timedelta


@dataclass(frozen=True, slots=True)
class LogSettings:
    """What is logged, and in which form."""

    level: Literal["debug", "info", "warning", "error"]
    format: Literal["json", "text"]


@dataclass(frozen=True, slots=True)
class TargetSettings:
    """An EHR that plans are written to. ``deadline`` bounds one call as a whole, the two timeouts its parts.

    ``clinics``: those that apply at their own places, besides ``clinic``. ``mode`` shadow: nothing is written. The two
    ``max_`` of calls hold for each process.
    ``ehr``: the file of what is known of the product; ``rungs``: artifact -> rung, where the site has pinned one;
    ``sender``: the Practitioner in whose name messages go out, where the EHR wants one.
    """

    name: str
    base_url: str
    auth: Authentication | None
    clinic: str
    clinics: frozenset[str]
    mode: Literal["live", "shadow"]
    accept: Literal["review", "auto"]
    timeout_connect: timedelta
    timeout_read: timedelta
    deadline: timedelta
    max_concurrency: int
    max_calls_per_second: int
    max_answer_bytes: int
    ca_bundle: Path | None
    proxy: str | None
    hide_drug: bool
    plain_http: bool
    ehr: str
    sender: str | None
    rungs: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """A system that doses come from; plans for them go to ``target``.

    ``readable`` says whether we may read back from ``base_url``; ``auth``, ``ca_bundle``, ``proxy`` and ``plain_http``
    say how, where that is not the way to the target; ``zone`` is the zone of times that come without one; ``clinic``
    applies where the location of a dose names none.

    ``code_maps`` say what its own codes mean.

    A request shows one of the ``secrets``, a token that ``bearer`` takes, and is signed with one of the ``signatures``:
    whatever of these there is.

    ``ehr``: the file of what is known of the product.

    ``max_body_bytes`` and ``max_requests_per_minute`` (of each process) are None where it has no limit of its own;
    ``webhook_origins`` may ask whether they may deliver, in lower case.

    ``poll`` is None where it is not asked for what it did not send, ``subscribe`` where we make no Subscriptions there.

    For HL7 v2: ``patient_identifier_system`` is that of the patients' numbers, ``ignored_messages`` are types that are
    acknowledged and no more.
    """

    name: str
    target: str
    base_url: str
    readable: bool
    auth: Authentication | None
    ca_bundle: Path | None
    proxy: str | None
    plain_http: bool
    zone: ZoneInfo | None
    clinic: str | None
    secrets: tuple[SenderSecret, ...]
    bearer: BearerSettings | None
    signatures: tuple[SigningKey, ...]
    code_maps: frozenset[str]
    patient_identifier_system: str | None
    ignored_messages: frozenset[str]
    poll: PollSettings | None
    max_body_bytes: int | None
    max_requests_per_minute: int | None
    webhook_origins: frozenset[str]
    ehr: str
    subscribe: SubscribeSettings | None

    @property
    def is_proven(self) -> bool:
        """Whether whoever says to be this source has to prove it."""
        return bool(self.secrets or self.bearer or self.signatures)


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a site sets. ``operations`` are the secrets that open /readyz and /metrics."""

    data_dir: Path
    database: str
    site_overlay: Path | None
    insecure_dev: bool
    web: WebSettings
    work: WorkSettings
    log: LogSettings
    operations: tuple[SenderSecret, ...]
    targets: Mapping[str, TargetSettings]
    sources: Mapping[str, SourceSettings]
    mllp: tuple[MllpSettings, ...]
