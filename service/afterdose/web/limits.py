"""How much one source may send: a bucket of requests for each, which fills up again through the minute."""

import math
import threading
import time
from collections.abc import Callable, Mapping


class TooMany(Exception):
    """A source sends more than it may; ``seconds`` until it may again."""

    def __init__(self, seconds: int) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class RequestLimits:
    """The buckets of one process. ``per_minute``: by source, where it has a limit. Threads may share them."""

    def __init__(self, per_minute: Mapping[str, int], *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._held = {name: (float(most), monotonic()) for name, most in per_minute.items()}

    def take(self, source: str) -> None:
        """One request of a source. Raises TooMany."""
        most = self._per_minute.get(source)
        if most is None:
            return
        with self._lock:
            held, at = self._held[source]
            now = self._monotonic()
            held = min(float(most), held + (now - at) * most / 60)
            self._held[source] = (held - 1 if held >= 1 else held, now)
        if held < 1:
            raise TooMany(max(1, math.ceil((1 - held) * 60 / most)))
