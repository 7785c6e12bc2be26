"""A clinic changes its hours: what is proposed moves with them once the service has been started again."""

import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from test_main_line import Ehr, eventually

from afterdose.content import locate
from afterdose.sandbox import SandboxEHR
from running_service import RunningService

pytestmark = pytest.mark.service

CLINIC = Path("mappings", "clinics", "example-7-days.toml")


def test_changed_opening_hours_move_what_is_proposed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    overlay = tmp_path / "site"
    (overlay / CLINIC).parent.mkdir(parents=True)
    monkeypatch.setitem(os.environ, "AFTERDOSE_SITE_OVERLAY", str(overlay))
    with SandboxEHR() as sandbox:
        ehr = Ehr(sandbox.base_url)
        dose = ehr.dose("d-1", datetime.now(UTC) - timedelta(hours=3))
        ehr.put(dose)
        with RunningService(tmp_path, ehr.base_url) as service:
            service.send(dose).raise_for_status()
            (before,) = eventually(lambda: ehr.appointments("proposed"))

            service.stop()
            hours = (locate.bundled() / CLINIC).read_text(encoding="utf-8")
            late = re.sub(r'\["09:00-17:00"\]', '["18:00-22:00"]', hours)
            assert late != hours
            (overlay / CLINIC).write_text(late, encoding="utf-8")
            service.start()

            eventually(lambda: ehr.appointments("proposed")[0]["comment"] != before["comment"])
        (after,) = ehr.appointments("proposed")
    assert (after["id"], after["requestedPeriod"]) == (before["id"], before["requestedPeriod"])
