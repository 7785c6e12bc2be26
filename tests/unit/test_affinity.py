"""Processes of one service keep to different CPUs, as long as there are as many."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Thread

import pytest

from afterdose.affinity import keep_to_one_cpu, spread, turned

ALL = sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else []
two_cpus = pytest.mark.skipif(len(ALL) < 2, reason="needs Linux and two CPUs")

PROGRAM = """
import os, sys
from pathlib import Path
from threading import Thread
from afterdose.affinity import keep_to_one_cpu

keep_to_one_cpu(Path(sys.argv[1]))
later = Thread(target=lambda: print(*sorted(os.sched_getaffinity(0)), flush=True))
later.start()
later.join()
sys.stdin.read()
"""


@contextmanager
def running(folder: Path) -> Iterator[list[int]]:
    """A process with that folder, until the block ends: the CPUs on which its later threads may run."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield [int(cpu) for cpu in process.stdout.readline().split()]
        process.stdin.close()


@two_cpus
def test_each_process_takes_another_cpu_and_what_is_left_over_may_run_on_all(tmp_path: Path) -> None:
    with ExitStack() as stack:
        taken = [stack.enter_context(running(tmp_path / "cpus")) for _ in ALL]
        one_more = stack.enter_context(running(tmp_path / "cpus"))

    assert sorted(taken) == [[cpu] for cpu in ALL]
    assert one_more == ALL


@two_cpus
def test_the_cpu_of_a_process_that_ended_is_taken_by_its_successor(tmp_path: Path) -> None:
    with ExitStack() as stack:
        for _ in ALL[1:]:
            stack.enter_context(running(tmp_path))
        with running(tmp_path) as before:
            pass
        with running(tmp_path) as after:
            pass

    assert len(before) == 1
    assert after == before


@two_cpus
def test_a_folder_that_cannot_be_made_leaves_the_process_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found: list[object] = []

    def try_it() -> None:
        found.extend((keep_to_one_cpu(tmp_path / "file" / "cpus"), sorted(os.sched_getaffinity(0))))

    thread = Thread(target=try_it)
    thread.start()
    thread.join()

    assert found == [None, ALL]


@pytest.mark.parametrize(
    ("cores", "order"),
    [
        ({0: "a", 1: "b", 2: "c", 3: "d"}, [0, 1, 2, 3]),
        ({0: "a", 1: "a", 2: "b", 3: "b"}, [0, 2, 1, 3]),
        ({0: "a", 1: "b", 2: "a", 3: "b"}, [0, 1, 2, 3]),
        ({1: "a", 2: "b", 3: "b"}, [1, 2, 3]),
        ({5: "a"}, [5]),
    ],
)
def test_two_processes_get_different_cores_before_any_shares_one(cores: dict[int, str], order: list[int]) -> None:
    assert spread(list(cores), cores.__getitem__) == order


@pytest.mark.parametrize("folder", ["/var/lib/afterdose/cpus", "/srv/afterdose/cpus"])
def test_containers_of_one_machine_do_not_all_begin_at_the_same_cpu(folder: str) -> None:
    begun = [turned(range(8), f"afterdose-{number}", Path(folder)) for number in range(64)]

    assert {cpus[0] for cpus in begun} == set(range(8))
    assert all(sorted(cpus) == list(range(8)) for cpus in begun)
