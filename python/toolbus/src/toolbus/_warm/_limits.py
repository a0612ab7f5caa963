"""What a call may use: each of its processes, which the kernel sees to, and all of them together, which a slot counts.

The limits and their names are those that the gateway holds every script to, however it is started.
"""

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import suppress

from toolbus._warm import _system

Limits = dict[str, int]

_TICKS = os.sysconf("SC_CLK_TCK")

_KERNEL = {
    "memory": resource.RLIMIT_DATA,
    "address_space": resource.RLIMIT_AS,
    "cpu": resource.RLIMIT_CPU,
    "file_size": resource.RLIMIT_FSIZE,
    "open_files": resource.RLIMIT_NOFILE,
}


def hold(limits: Limits) -> None:
    """Holds this process, and each that it starts, to the limits."""
    for kind, soft, hard in _of_kernel(limits):
        most = resource.getrlimit(kind)[1]
        if most != resource.RLIM_INFINITY:
            soft, hard = min(soft, most), min(hard, most)
        resource.setrlimit(kind, (soft, hard))


def hold_for_now(limits: Limits) -> None:
    """The same until the next call, which may have others: what was used by now of the time does not count."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    passed = int(used.ru_utime + used.ru_stime)
    wanted = {kind: soft for kind, soft, _ in _of_kernel(limits)}
    for kind in _KERNEL.values():
        most = resource.getrlimit(kind)[1]
        soft = wanted.get(kind, most)
        if kind == resource.RLIMIT_CPU and soft != most:
            soft += passed
        resource.setrlimit(kind, (soft if most == resource.RLIM_INFINITY else min(soft, most), most))


def _of_kernel(limits: Limits) -> Iterator[tuple[int, int, int]]:
    for name, kind in _KERNEL.items():
        if (limit := limits.get(name)) is not None:
            # A second after SIGXCPU, which can be caught, comes SIGKILL.
            yield kind, limit, limit + 1 if name == "cpu" else limit


class Usage:
    """What a call and all that it started use together."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._before = _reaped()
        self.limited = not limits.keys().isdisjoint(("processes", "memory", "cpu"))

    def since(self, pid: int) -> None:
        """What a process has used until now is not of this call."""
        self._before += _cpu(pid)

    def exceeded(self) -> str | None:
        """The first limit that is exceeded by all that descends from this process."""
        every = _system.descendants(os.getpid())
        if self._is_over("processes", lambda: len(every)):
            return "processes"
        # A second of grace, as the kernel gives it to a single process: who keeps to its limit ends by its own signal.
        if self._is_over("cpu", lambda: _reaped() + sum(map(_cpu, every)) - self._before - 1):
            return "cpu"
        # Pages that several have are counted for each of them there, so what is meant is only asked for then.
        if self._is_over("memory", lambda: sum(map(_system.resident, every))) and self._is_over(
            "memory", lambda: sum(map(_share, every))
        ):
            return "memory"
        return None

    def _is_over(self, name: str, count: Callable[[], float]) -> bool:
        limit = self._limits.get(name)
        return limit is not None and count() > limit


def _cpu(pid: int) -> float:
    """Seconds on a processor, of a process and of its children that it has reaped."""
    with suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/stat", "rb") as file:
        # `pid (name) state ...`, where the name may hold anything.
        numbers = file.read().rpartition(b") ")[2].split()
        return sum(map(int, numbers[11:15])) / _TICKS
    return 0.0


def _reaped() -> float:
    """The same, of what this process has reaped."""
    times = os.times()
    return times.children_user + times.children_system


def _share(pid: int) -> int:
    """Bytes of a process, of which it has only its share where others have them too."""
    with suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/smaps_rollup", "rb") as file:
        for line in file:
            if line.startswith(b"Pss:"):
                return int(line.split()[1]) * 1024
    return 0
