"""What Linux knows about a process and its descendants."""

import ctypes
import os
import resource
import signal
import time
from contextlib import suppress

_SET_PDEATHSIG, _SET_CHILD_SUBREAPER = 1, 36

# Between two rounds of a hunt, and all of it: what cannot be killed by then sleeps in the kernel.
_ROUND, _HUNT = 0.005, 10.0

_libc = ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def keep_orphans() -> None:
    """Orphaned descendants become children of this process, so that none slips away."""
    _prctl(_SET_CHILD_SUBREAPER, 1)


def die_with_parent(parent: int) -> None:
    """Has this process killed when its parent ends."""
    _prctl(_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)


def signal_group(leader: int, number: int) -> None:
    """Sends a signal to a child of ours and all of its group."""
    try:
        os.killpg(leader, number)
    except (ProcessLookupError, PermissionError):
        # It has not come to lead a group yet.
        os.kill(leader, number)


def children(pid: int) -> list[int]:
    """The children of a process, also those that have ended and wait to be reaped."""
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children") as file:
                found += map(int, file.read().split())
    except FileNotFoundError:
        # The process is gone, or this kernel has no such list.
        return [] if not os.path.exists(f"/proc/{pid}") else _children_by_scan(pid)
    except ProcessLookupError:
        return []
    return found


def _children_by_scan(pid: int) -> list[int]:
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
            # `pid (name) state ppid ...`, where the name may hold anything.
            if int(file.read().rpartition(b") ")[2].split()[1]) == pid:
                found.append(int(name))
    return found


def descendants(pid: int) -> list[int]:
    """Every process that descends from this one."""
    found: list[int] = []
    following = [pid]
    while following:
        own = children(following.pop())
        found += own
        following += own
    return found


def resident(pid: int) -> int:
    """Bytes of a process that are in memory; 0 once it is gone."""
    try:
        with open(f"/proc/{pid}/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except (OSError, IndexError):
        return 0


def kill_all(keep: frozenset[int] = frozenset()) -> None:
    """Kills and reaps every descendant of this process, but for these children and what descends from them."""
    until = time.monotonic() + _HUNT
    while time.monotonic() < until and not _childless():
        own = [pid for pid in children(os.getpid()) if pid not in keep]
        if not own:
            return
        for pid in own:
            for each in (*descendants(pid), pid):
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(each, signal.SIGKILL)
        if not all([_reaped(pid) for pid in own]):
            time.sleep(_ROUND)


def _childless() -> bool:
    """Whether the kernel says so, which costs less than to look for them."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return True
    return False


def _reaped(pid: int) -> bool:
    with suppress(ChildProcessError):
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    return True
