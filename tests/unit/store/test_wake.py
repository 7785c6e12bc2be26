"""The named pipe by which the processes of a host wake each other."""

from pathlib import Path
from threading import Barrier, Thread

from afterdose.store.wake import PipeWake


def test_processes_that_start_at_the_same_moment_share_one_pipe(tmp_path: Path) -> None:
    """Threads stand for them: whoever comes second finds a pipe that was not there a moment before."""
    for number in range(100):
        path, start, opened = tmp_path / f"wake-{number}", Barrier(8), list[PipeWake]()

        def open_it(path: Path = path, start: Barrier = start, opened: list[PipeWake] = opened) -> None:
            start.wait()
            opened.append(PipeWake(path))

        threads = [Thread(target=open_it) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert len(opened) == 8
        opened[0].ring()
        assert opened[-1].wait(1.0)
        for one in opened:
            one.close()


def test_what_stands_in_the_place_of_the_pipe_and_is_none_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "wake").write_text("left over")

    pipe = PipeWake(tmp_path / "wake")

    pipe.ring()
    assert pipe.wait(1.0)
    pipe.close()
