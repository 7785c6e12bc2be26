"""What a crash leaves behind: nothing of what the process had in its memory."""

import resource
from collections.abc import Iterator

import pytest
from click.testing import CliRunner

from afterdose.cli import main


@pytest.fixture
def core_files() -> Iterator[None]:
    """A machine that keeps core files, as far as it lets us."""
    before = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_CORE, before)


@pytest.mark.usefixtures("core_files")
def test_no_command_leaves_a_core_file() -> None:
    assert CliRunner().invoke(main, ["settings"]).exit_code == 0
    assert resource.getrlimit(resource.RLIMIT_CORE)[0] == 0
