"""A gateway's side of `python -m toolbus.warm`, for its tests."""

import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _peer import PATIENCE

from toolbus._warm import _system
from toolbus._warm._wire import Message, Wire

PYTHON = os.path.abspath(sys.executable)


@dataclass
class Ended:
    """How a call ended, and what it wrote."""

    verdict: str
    out: bytes
    err: bytes
    side: bytes


class Call:
    """A call under way."""

    def __init__(self, wire: Wire, request: Message, given: bytes) -> None:
        self.wire = wire
        pipes = [os.pipe() for _ in range(4)]
        (theirs_in, ours_in), *others = pipes
        wire.send(request, [theirs_in, *(write for _, write in others)])
        for fd in (theirs_in, *(write for _, write in others)):
            os.close(fd)
        self._read: list[bytes] = [b"", b"", b""]
        self._threads = [threading.Thread(target=self._keep, args=(n, read)) for n, (read, _) in enumerate(others)]
        self._threads.append(threading.Thread(target=self._feed, args=(ours_in, given)))
        for thread in self._threads:
            thread.start()
        self.began = self.heard()

    def _keep(self, number: int, fd: int) -> None:
        with open(fd, "rb") as file:
            while data := os.read(file.fileno(), 64 * 1024):
                self._read[number] += data

    def _feed(self, fd: int, data: bytes) -> None:
        # A call need not read what it is given.
        with suppress(BrokenPipeError), open(fd, "wb", buffering=0) as file:
            file.write(data)

    def heard(self) -> Message:
        """The next thing that the slot says."""
        assert self.wire.wait(PATIENCE), "the slot says nothing"
        said = self.wire.receive()
        assert said is not None, "the slot is gone"
        return said[0]

    def written(self, what: bytes) -> None:
        """Waits until the call has written this to its standard output."""
        until(lambda: what in self._read[0], f"{what!r} is written")

    def end(self) -> None:
        """Asks for the end of the call."""
        self.wire.send({"end": True})

    def ended(self) -> Ended:
        """Waits for the end of the call."""
        said = self.began if "ended" in self.began else self.heard()
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive(), "a pipe of the call is still open"
        return Ended(said["ended"], *self._read)


class Slot:
    """A slot of a server."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire

    def begin(self, cwd: Path, given: bytes = b"", limits: Message | None = None, **what: Any) -> Call:
        """Begins a call."""
        options = {"arguments": [], "unbuffered": False, "safe_path": False}
        request = {**options, "cwd": str(cwd), "env": {"PATH": os.environ["PATH"]}} | what
        request["limits"] = limits or {}
        return Call(self.wire, request, given)

    def call(self, cwd: Path, given: bytes = b"", limits: Message | None = None, **what: Any) -> Ended:
        """A call from its beginning to its end."""
        return self.begin(cwd, given, limits, **what).ended()


class Warm:
    """A server."""

    def __init__(self, cwd: Path, *arguments: str) -> None:
        ours, theirs = socket.socketpair()
        command = [PYTHON, "-P", "-m", "toolbus.warm", *arguments]
        self.process = subprocess.Popen(command, stdin=theirs.fileno(), cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        theirs.close()
        self.wire = Wire(ours)
        self.first = self.heard()

    def heard(self) -> Message:
        """The next thing that the server says."""
        assert self.wire.wait(PATIENCE), "the server says nothing"
        said = self.wire.receive()
        assert said is not None, "the server is gone"
        return said[0]

    def slot(self) -> Slot:
        """Has a slot."""
        assert "ready" in self.first, self.first
        ours, theirs = socket.socketpair()
        self.wire.send({"slot": True}, [theirs.fileno()])
        theirs.close()
        return Slot(Wire(ours))

    def end(self) -> None:
        """Ends it."""
        self.wire.close()
        self.process.kill()
        self.process.communicate()


def descendants(pid: int) -> list[int]:
    """Every process that descends from this one."""
    return _system.descendants(pid)


def until(holds: Callable[[], bool], what: str) -> None:
    """Waits until something holds."""
    limit = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < limit, f"not seen within {PATIENCE} s: {what}"
        select.poll().poll(10)
