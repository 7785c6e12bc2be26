"""How long an EHR is waited for: what it asks for itself, and how far what it shows may lag behind. Pure."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

# No EHR is left alone for longer than this, whatever it asks for: windows close after days.
LONGEST_RETRY_AFTER = timedelta(hours=1)
INDEX_LAG = timedelta(minutes=1)
"""How long after a write its result may be missing from a search. Half a minute is common; windows open after a day."""
_RATE_LIMIT = re.compile(r";\s*r=(\d{1,9})\b[^,;]*;\s*t=(\d{1,9})\b")


def retry_after(headers: Mapping[str, str], now: datetime) -> timedelta | None:
    """How long the EHR asks to be left alone, at most LONGEST_RETRY_AFTER; None where it asks for nothing legible.

    Read are Retry-After (seconds, or a date, which is relative to the EHR's own Date), Azure's x-ms-retry-after-ms
    and the window ``t`` of RateLimit (Medplum sends no Retry-After). The longest counts.
    """
    waits = [_seconds(headers.get("retry-after", ""))]
    if waits[0] is None and "retry-after" in headers:
        until, since = _http_date(headers["retry-after"]), _http_date(headers.get("date", "")) or now
        waits.append(max((until - since).total_seconds(), 0.0) if until else None)
    milliseconds = _seconds(headers.get("x-ms-retry-after-ms", ""))
    waits.append(None if milliseconds is None else milliseconds / 1000)
    waits += [_seconds(window) for left, window in _RATE_LIMIT.findall(headers.get("ratelimit", "")) if int(left) == 0]
    known = [wait for wait in waits if wait is not None]
    return timedelta(seconds=min(max(known), LONGEST_RETRY_AFTER.total_seconds())) if known else None


def _seconds(text: str) -> float | None:
    digits = text.strip()
    return float(digits[:12]) if digits.isascii() and digits.isdigit() else None


def _http_date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
