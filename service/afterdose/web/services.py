"""What the web part is given when it is built; it has no other way to reach anything."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from afterdose.ehr.sender_keys import SenderKeys
from afterdose.settings import Settings
from afterdose.store.deliveries import Deliveries
from afterdose.store.rows import Arrival, Receipt
from afterdose.store.subscriptions import SubscriptionRow
from afterdose.web.metrics import WebMetrics
from afterdose.work.intake.messages import Messages, Quarantine
from afterdose.work.intake.reception import Origin, Reception


@dataclass(frozen=True, slots=True, kw_only=True)
class WebServices:
    """``submit`` returns once the arrivals are on disk. ``checks``: by name, None or a sentence on what is wrong.
    ``hurry`` returns once it is on disk that a source is to be polled now, ``hear`` once what a notification says of
    itself is, ``keep_unread`` once it is which resources are to be read. ``counts``: whether a source numbers its
    events as it should.

    ``published_keys`` are our public keys, ``paused`` the targets that people have paused, ``polled`` since when
    everything of each source that is polled is known, as they stand at the moment of the call. ``sender_keys``: by
    source, of those that show tokens. ``subscriptions``: what is known of those by which sources notify us.
    """

    settings: Settings
    submit: Callable[[Sequence[Arrival]], Sequence[Receipt]]
    hurry: Callable[[str], None]
    hear: Callable[[Reception, Origin], None]
    counts: Callable[[str], bool]
    keep_unread: Callable[[str, Collection[tuple[str, str]]], None]
    quarantine: Quarantine
    messages: Messages
    clock: Callable[[], datetime]
    checks: Mapping[str, Callable[[], str | None]]
    published_keys: Callable[[], Sequence[dict[str, object]]]
    metrics: WebMetrics
    deliveries: Deliveries
    sender_keys: Mapping[str, SenderKeys] = field(default_factory=dict)
    paused: Callable[[], Sequence[str]] = tuple
    polled: Callable[[], Mapping[str, datetime | None]] = dict
    subscriptions: Callable[[], Sequence[SubscriptionRow]] = tuple
