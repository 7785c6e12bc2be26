"""The keys that afterdose makes itself: a folder of private keys, and a small file that says when each is used.

Rotation needs no restart and no second command. A new key is published at once and signs only after PUBLISHED_FOR,
when every EHR that honours our Cache-Control has fetched it; the old key signs until then, and leaves our JWKS after
as long again, when no assertion that it signed is alive. All of that is written down as three times for each key, so
that the state at any moment is read off the file (SMART App Launch 2.2, client-confidential-asymmetric.html).

    published    signs from    (the next one signs)    leaves
        |------------|-----------------|------------------|
"""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from afterdose.core.errors import BadInput, BadSettings
from afterdose.ehr.keys import ALGORITHMS, Jwk, SigningKey, check_private, load_key, new_key, public_part
from afterdose.fhir import strict_json
from afterdose.fhir.times import format_instant

PUBLISHED_FOR = timedelta(hours=1)
"""Also the max-age of our JWKS: for how long an EHR may go without fetching it."""

STATES = "keys.json"
_KEY = "data_dir"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One key of the folder and the times of its life; ``leaves_at`` is None until its successor is published."""

    kid: str
    algorithm: str
    published_at: datetime
    signs_from: datetime
    leaves_at: datetime | None = None

    def is_published(self, now: datetime) -> bool:
        """Whether it stands in our JWKS."""
        return self.leaves_at is None or now < self.leaves_at


class Keyring:
    """The keys in one folder (0700, the files in it 0600). Raises BadSettings for whatever is not as it should be."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def exists(self) -> bool:
        """Whether keys were ever made here."""
        return (self._folder / STATES).exists()

    def generate(self, now: datetime) -> Sequence[Entry]:
        """Make the first keys, one for each algorithm; they sign at once."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        check_private(self._folder, key=_KEY)
        with self._alone():
            if self.exists():
                raise BadSettings(f"{self._folder} holds keys already; `afterdose keys rotate` replaces them")
            return self._write([self._make(algorithm, now, now) for algorithm in ALGORITHMS])

    def rotate(self, now: datetime) -> Sequence[Entry]:
        """Publish a successor for every key, and throw away what has left. One rotation at a time."""
        if not self.exists():
            raise self._none()
        with self._alone():
            return self._rotate(now)

    def _rotate(self, now: datetime) -> Sequence[Entry]:
        entries = self.entries()
        under_way = max(entry.signs_from for entry in entries)
        if under_way > now:
            raise BadSettings(f"the last rotation is under way until {format_instant(under_way)}")
        signs_from = now + PUBLISHED_FOR
        leaves_at = signs_from + PUBLISHED_FOR
        kept = [entry for entry in entries if entry.is_published(now)]
        aged = [entry if entry.leaves_at else replace(entry, leaves_at=leaves_at) for entry in kept]
        written = self._write([*aged, *(self._make(algorithm, now, signs_from) for algorithm in ALGORITHMS)])
        for entry in entries:
            if entry not in kept:
                self._file(entry.kid).unlink(missing_ok=True)
        return written

    def signing(self, now: datetime, algorithms: Sequence[str]) -> SigningKey:
        """The key that signs now with one of ``algorithms``, the first of them that there is one for."""
        entries = self.entries()
        for algorithm in algorithms:
            ready = [entry for entry in entries if entry.algorithm == algorithm and entry.signs_from <= now]
            if ready:
                newest = max(ready, key=lambda entry: entry.signs_from)
                return load_key(self._file(newest.kid), key=_KEY)
        raise BadSettings(f"{self._folder} holds no key for {' or '.join(algorithms)}")

    def published(self, now: datetime) -> list[Jwk]:
        """The public halves of the keys in our JWKS; empty where none were made yet."""
        if not self.exists():
            return []
        return [public_part(self._jwk(entry.kid)) for entry in self.entries() if entry.is_published(now)]

    def entries(self) -> list[Entry]:
        """Every key of the folder."""
        if not self.exists():
            raise self._none()
        check_private(self._folder, key=_KEY)
        try:
            listed = json.loads((self._folder / STATES).read_text(encoding="utf-8"))["keys"]
            entries = [_entry(item) for item in listed]
        except (OSError, ValueError, TypeError, KeyError):
            raise BadSettings(f"{self._folder / STATES}: cannot be read, or is damaged") from None
        if not entries:
            raise BadSettings(f"{self._folder / STATES}: lists no keys")
        return entries

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Nobody else makes keys here during the block: what either says that it made, is there."""
        lock = os.open(self._folder / f"{STATES}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _none(self) -> BadSettings:
        return BadSettings(f"{self._folder} holds no keys; `afterdose keys generate` makes them")

    def _make(self, algorithm: str, published_at: datetime, signs_from: datetime) -> Entry:
        made = new_key(algorithm)
        _write_new(self._file(made.kid), json.dumps(made.private_jwk()))
        return Entry(kid=made.kid, algorithm=algorithm, published_at=published_at, signs_from=signs_from)

    def _write(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        fresh = self._folder / f"{STATES}.new"
        fresh.unlink(missing_ok=True)
        _write_new(fresh, json.dumps({"keys": [_written(entry) for entry in entries]}, indent=2) + "\n")
        fresh.replace(self._folder / STATES)
        return entries

    def _jwk(self, kid: str) -> Jwk:
        path = self._file(kid)
        check_private(path, key=_KEY)
        with contextlib.suppress(OSError, BadInput):
            jwk = strict_json.loads(path.read_bytes())
            if isinstance(jwk, dict):
                return jwk
        raise BadSettings(f"{path}: cannot be read, or is damaged")

    def _file(self, kid: str) -> Path:
        return self._folder / f"{kid}.jwk"


def _write_new(path: Path, text: str) -> None:
    """A file of ours that nobody else can open at any moment, on disk when this returns."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _written(entry: Entry) -> dict[str, str | None]:
    return {
        "kid": entry.kid,
        "algorithm": entry.algorithm,
        "published_at": format_instant(entry.published_at),
        "signs_from": format_instant(entry.signs_from),
        "leaves_at": format_instant(entry.leaves_at) if entry.leaves_at else None,
    }


def _entry(item: dict[str, Any]) -> Entry:
    leaves_at = item["leaves_at"]
    return Entry(
        kid=item["kid"],
        algorithm=item["algorithm"],
        published_at=datetime.fromisoformat(item["published_at"]),
        signs_from=datetime.fromisoformat(item["signs_from"]),
        leaves_at=datetime.fromisoformat(leaves_at) if leaves_at else None,
    )
