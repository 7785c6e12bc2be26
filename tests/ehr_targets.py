"""An EHR to call, for tests of the code that calls one."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class EhrTarget:
    """What `afterdose.ehr` needs to know of a target, with short patience."""

    base_url: str
    timeout_connect: timedelta = timedelta(seconds=2)
    timeout_read: timedelta = timedelta(seconds=2)
    deadline: timedelta = timedelta(seconds=5)
    max_answer_bytes: int = 1_000_000
    ca_bundle: Path | None = None
    proxy: str | None = None
    plain_http: bool = False


def target(base_url: str, **changes: Any) -> EhrTarget:
    """A target at ``base_url``."""
    return EhrTarget(base_url=base_url, **changes)
