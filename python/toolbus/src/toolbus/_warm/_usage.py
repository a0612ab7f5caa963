"""What a call and all that it started use together, and whether it is too much."""

import os
from contextlib import suppress

from toolbus._warm import _system
from toolbus._warm._wire import Message

_TICKS = os.sysconf("SC_CLK_TCK")


class Usage:
    """The limits of a call that no single process can be held to."""

    def __init__(self, limits: Message) -> None:
        self._processes: int | None = limits.get("processes")
        self._memory: int | None = limits.get("memory")
        self._cpu: float | None = limits.get("cpu")
        self._before = _reaped()
        self.limited = any(limit is not None for limit in (self._processes, self._memory, self._cpu))

    def since(self, pid: int) -> None:
        """What a process has used until now is not of this call."""
        self._before += _cpu(pid)

    def exceeded(self) -> str | None:
        """The first limit that is exceeded by all that descends from this process."""
        every = _system.descendants(os.getpid())
        if self._processes is not None and len(every) > self._processes:
            return "processes"
        if self._memory is not None and sum(map(_system.resident, every)) > self._memory:
            return "memory"
        if self._cpu is not None and _reaped() + sum(map(_cpu, every)) - self._before > self._cpu:
            return "cpu"
        return None


def _cpu(pid: int) -> float:
    """Seconds on a processor, of a process and of its children that it has reaped."""
    with suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/stat", "rb") as file:
        numbers = file.read().rpartition(b") ")[2].split()
        return sum(map(int, numbers[11:15])) / _TICKS
    return 0.0


def _reaped() -> float:
    """The same, of what this process has reaped."""
    times = os.times()
    return times.children_user + times.children_system
