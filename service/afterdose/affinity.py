"""On which CPU the threads of a process run."""

import fcntl
import os
import sys
from collections.abc import Callable, Sequence
from hashlib import blake2b
from itertools import zip_longest
from pathlib import Path

_TOPOLOGY = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"


def keep_to_one_cpu(folder: Path) -> int | None:
    """Bind this thread, and every thread that it starts, to one CPU; which one, or None where none is to be had.

    Threads of Python take turns whatever the number of CPUs. On one CPU a turn is a switch; between two it is an
    interrupt to the other, which costs several times as much and more on a virtual machine. Processes with the same
    ``folder`` take different CPUs: each holds the lock of its own there until it ends. When all are taken, and on
    systems that cannot bind (https://docs.python.org/3/library/os.html#os.sched_setaffinity), nothing is bound.
    """
    if sys.platform != "linux":
        return None
    cpus = spread(sorted(os.sched_getaffinity(0)), _core_of)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for cpu in turned(cpus, os.uname().nodename, folder.resolve()) if len(cpus) > 1 else ():
            if _take(folder / f"cpu-{cpu}.lock"):
                os.sched_setaffinity(0, {cpu})
                return cpu
    except OSError:  # a folder that is not ours, a sandbox that forbids it: no reason not to serve
        return None
    return None


def spread(cpus: Sequence[int], core_of: Callable[[int], str]) -> list[int]:
    """The CPUs in such an order that neighbours are of different cores, as far as there are enough: what shares a core
    shares its speed too."""
    cores: dict[str, list[int]] = {}
    for cpu in cpus:
        cores.setdefault(core_of(cpu), []).append(cpu)
    return [cpu for row in zip_longest(*cores.values()) for cpu in row if cpu is not None]


def turned(cpus: Sequence[int], host: str, folder: Path) -> list[int]:
    """The CPUs from another one on, so that services that share a machine begin at different ones: those with folders
    of their own, and containers, whose folders have the same path and which each have a host name of their own."""
    digest = blake2b(f"{host} {folder}".encode(), digest_size=8).digest()
    first = int.from_bytes(digest) % len(cpus)
    return [*cpus[first:], *cpus[:first]]


def _core_of(cpu: int) -> str:
    """The CPUs of the same core, as Linux lists them; the CPU alone where it does not say."""
    try:
        return Path(_TOPOLOGY.format(cpu)).read_text(encoding="ascii")
    except OSError:
        return str(cpu)


def _take(lock: Path) -> bool:
    """Whether the lock is ours now. Its file stays open: the lock ends with the process."""
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return False
    return True
