"""HL7's own validator for R4, offline, with the definitions of `profiles/` loaded (`tests/hapi`)."""

import json
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from servers import ServerFailed, hapi_java

PROFILES = Path(__file__).parents[1] / "profiles"
SECONDS = 600


@dataclass(frozen=True)
class Issue:
    """One thing that the validator says. `severity`: fatal, error, warning or information."""

    severity: str
    path: str | None
    id: str | None
    text: str

    @property
    def is_error(self) -> bool:
        return self.severity in ("fatal", "error")


def hl7_validation(files: Iterable[Path]) -> dict[Path, list[Issue]]:
    """What HL7's validator says of each file."""
    java, classpath = hapi_java()
    with tempfile.TemporaryDirectory(prefix="hl7-") as folder:
        names = Path(folder) / "files"
        names.write_text("\n".join(str(file) for file in files))
        command = [java, "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx1g"]
        command += ["-Dorg.slf4j.simpleLogger.defaultLogLevel=error", "-cp", classpath]
        command += ["afterdose.hapi.Validate", str(PROFILES), f"@{names}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    if done.returncode:
        raise ServerFailed(f"HL7's validator ended with {done.returncode}:\n{done.stderr[-4000:]}")
    return {
        Path(one["file"]): [
            Issue(issue["severity"], issue.get("path"), issue.get("id"), issue["text"]) for issue in one["issues"]
        ]
        for one in json.loads(done.stdout)
    }
