"""Settings of an EHR for tests of the code that calls one."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from afterdose.settings import TargetSettings


def target(base_url: str, **changes: Any) -> TargetSettings:
    """A target at ``base_url`` with short patience."""
    settings = TargetSettings(
        name="ehr",
        base_url=base_url,
        auth=None,
        clinic="default",
        accept="review",
        timeout_connect=timedelta(seconds=2),
        timeout_read=timedelta(seconds=2),
        deadline=timedelta(seconds=5),
        max_answer_bytes=1_000_000,
        ca_bundle=None,
        proxy=None,
        plain_http=False,
    )
    return replace(settings, **changes)
