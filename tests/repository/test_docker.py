"""The settings files of docker/ are settings, and compose.yaml gives compose.toml the secrets that it asks for."""

import re
from pathlib import Path

import pytest

from afterdose.settings import load_settings

DOCKER = Path(__file__).parents[2] / "docker"
SECRET = re.compile(r'"/run/secrets/(\w+)"')


def with_secrets(name: str, folder: Path) -> Path:
    """The settings file, copied to `folder` with a secret of its own in each file that it names."""
    text = (DOCKER / name).read_text(encoding="utf-8")
    for position, secret in enumerate(sorted(set(SECRET.findall(text)))):
        value = (
            f"{position}" * 64 if secret != "database_url" else "postgresql+psycopg://afterdose:x@database/afterdose"
        )
        (folder / secret).write_text(f"{value}\n", encoding="utf-8")
    (folder / name).write_text(text.replace("/run/secrets/", ""), encoding="utf-8")
    return folder / name


@pytest.mark.parametrize("name", ["afterdose.example.toml", "compose.toml"])
def test_the_file_loads_as_settings(name: str, tmp_path: Path) -> None:
    settings = load_settings(with_secrets(name, tmp_path), {})

    assert list(settings.targets) == ["ehr"]
    assert list(settings.sources) == ["ehr"]


def test_compose_hands_over_each_secret_that_the_settings_name() -> None:
    compose = (DOCKER / "compose.yaml").read_text(encoding="utf-8")
    wanted = sorted(set(SECRET.findall((DOCKER / "compose.toml").read_text(encoding="utf-8"))))

    assert wanted == ["database_url", "ehr_token", "operations_token"]
    for secret in wanted:
        assert f"    file: ./secrets/{secret}\n" in compose


def test_no_container_runs_with_more_than_it_needs() -> None:
    compose = (DOCKER / "compose.yaml").read_text(encoding="utf-8")
    services = compose.partition("\nservices:\n")[2].partition("\nvolumes:\n")[0]
    names = re.findall(r"^  (\w+):$", services, re.MULTILINE)

    assert len(names) == 5
    assert services.count("<<: *hardened") + services.count("<<: *afterdose") == len(names)
    assert "read_only: true" in compose
    assert "cap_drop: [ALL]" in compose
    assert 'security_opt: ["no-new-privileges:true"]' in compose
    assert re.search(r"^USER 65532:65532$", (DOCKER / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
