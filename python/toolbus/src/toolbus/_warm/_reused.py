"""A process that runs call after call, from the side of its slot and from its own."""

import atexit
import os
import select
import signal
import socket
import sys
import time
from contextlib import suppress
from typing import NoReturn

from toolbus._warm import _limits, _modules, _run, _system
from toolbus._warm._settings import Settings
from toolbus._warm._wire import Message, Wire, WireError

# What a descriptor stands for.
Which = tuple[int, int]

# Seconds between two looks at the files that calls have imported.
_LOOK = 1.0


class Reused:
    """The process, as its slot has it: replaced when it is old, large, or no longer as it should be."""

    wire: Wire

    def __init__(self, settings: Settings, gateway: Wire) -> None:
        self._settings, self._gateway = settings, gateway
        self._pid = 0

    def ready(self) -> None:
        """Has a process, forked where there is none."""
        if self._pid:
            return
        ours, theirs = socket.socketpair()
        self._calls, self._born, self._old = 0, time.monotonic(), False
        slot = os.getpid()
        self._pid = os.fork()
        if self._pid == 0:
            ours.close()
            self._gateway.close()
            _serve(slot, Wire(theirs))
        theirs.close()
        self.wire = Wire(ours)
        self._pidfd = os.pidfd_open(self._pid)

    def begin(self, request: Message, fds: list[int]) -> tuple[int, int]:
        """Hands it a call. Where it ended meanwhile, or is told to be old, another one has it."""
        if self._said_something():
            self.end()
            self.ready()
        # One that ends in this moment is seen to have ended.
        with suppress(OSError):
            self.wire.send(request, fds)
        return self._pid, self._pidfd

    def _said_something(self) -> bool:
        waiting = select.poll()
        waiting.register(self._pidfd, select.POLLIN)
        waiting.register(self.wire, select.POLLIN)
        return bool(waiting.poll(0))

    def heard(self) -> Message | None:
        """What it says: that a call began, or that it is done. Nothing once it says no more."""
        try:
            said = self.wire.receive()
        except (WireError, OSError):
            return None
        if said is None:
            return None
        self._old = self._old or "old" in said[0]
        return said[0]

    def keep(self, done: Message) -> bool:
        """Whether it may run another call: nothing of the last one is left, and it is neither old nor large."""
        self._calls += 1
        own = os.getpid()
        return (
            not (done["spent"] or self._old)
            and self._calls < self._settings.calls
            and time.monotonic() - self._born < self._settings.age
            and _system.children(own) == [self._pid]
            and not _system.children(self._pid)
            and _system.resident(self._pid) < self._settings.resident
        )

    def end(self) -> int:
        """Ends it; answers with its status."""
        _system.signal_group(self._pid, signal.SIGKILL)
        _, status = os.waitpid(self._pid, 0)
        os.close(self._pidfd)
        self.wire.close()
        self._pid = 0
        return status


def _serve(slot: int, wire: Wire) -> NoReturn:
    """Is the process."""
    status = 70
    try:
        os.setsid()
        _system.die_with_parent(slot)
        _Calls(wire).serve()
        status = 0
    finally:
        os._exit(status)


class _Calls:
    """Runs calls in this process, and puts back what they change of it, as far as that can be seen."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
        self._umask = os.umask(0o077)
        os.umask(self._umask)
        self._nothing = os.open(os.devnull, os.O_RDWR)
        self._at_fork = frozenset(sys.modules)
        self._files, self._modules = _modules.Files(time.time_ns(), self._at_fork), len(sys.modules)
        self._looked = time.monotonic()

    def serve(self) -> None:
        """Runs calls until the slot is gone."""
        while True:
            while not self._wire.wait(_LOOK):
                # The slot may hand over a call in this moment: so it is told, and runs the next one elsewhere.
                if self._changed():
                    self._wire.send({"old": True})
            if (said := self._wire.receive()) is None:
                return
            self._wire.send(self._run(*said))

    def _changed(self) -> bool:
        """Whether a file that a call has imported is another one now."""
        self._looked = time.monotonic()
        return self._files.changed() is not None

    def _run(self, request: Message, fds: list[int]) -> Message:
        """Runs a call; answers with its exit status, and whether this process is to run no other."""
        handlers, begun = _exit_handlers(), time.time_ns()
        pipes = {_which(fd) for fd in fds}
        try:
            _run.take_streams(fds, request["unbuffered"])
            _run.settle(request)
            _limits.hold_for_now(request["limits"])
            self._wire.send({"began": os.getpid()})
        except Exception as error:
            self._wire.send({"failed": f"{type(error).__name__}: {error}"})
            return {"done": 70, "spent": True}
        _run.prepare(request)
        status = _run.run(request)
        spent = _run.threads_left()
        if _exit_handlers() != handlers:
            # They want to run at the end, and know of this one only.
            status, spent = _run.finish(status), True
        status = _run.flush(status)
        self._put_back(begun, pipes)
        if time.monotonic() - self._looked >= _LOOK:
            spent = self._changed() or spent
        return {"done": status, "spent": spent}

    def _put_back(self, begun: int, pipes: set[Which]) -> None:
        for number in range(4):
            os.dup2(self._nothing, number)
        # What nobody took of this call must not come out in the next one.
        for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
            with suppress(Exception):
                stream.flush()  # type: ignore[union-attr]
        # Whoever made copies of the streams has no use for them any more, and the gateway waits for their end.
        for fd in map(int, os.listdir("/proc/self/fd")):
            with suppress(OSError):
                if _which(fd) in pipes:
                    os.close(fd)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        for number, handler in self._handlers.items():
            if handler is not None and signal.getsignal(number) != handler:
                signal.signal(number, handler)
        os.umask(self._umask)
        os.chdir("/")
        if len(sys.modules) != self._modules:
            self._files, self._modules = _modules.Files(begun, self._at_fork), len(sys.modules)


def _which(fd: int) -> Which:
    found = os.fstat(fd)
    return found.st_dev, found.st_ino


def _exit_handlers() -> int:
    return atexit._ncallbacks()
