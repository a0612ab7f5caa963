"""The server: imports the modules once, forks a slot each time it is asked to, and says when what it imported is old."""

import fcntl
import gc
import os
import select
import socket
import sys
import time
from typing import NoReturn

from toolbus._warm import _modules, _run, _slot, _system
from toolbus._warm._settings import Settings
from toolbus._warm._wire import Wire, close

# Seconds between two looks at the files of what was imported.
_LOOK = 1.0

# Above the descriptors that have a meaning.
_FREE = 10


def take_socket() -> Wire:
    """The socket to the gateway, which is standard input. Whoever reads that, or writes to 3, finds nothing there."""
    end = socket.socket(fileno=fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, _FREE))
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    # Taken, so that no other descriptor ever has the number of a call's side channel.
    os.dup2(nothing, 3)
    if nothing != 3:
        os.close(nothing)
    return Wire(end)


def serve(wire: Wire, settings: Settings) -> int:
    """Imports the modules and forks slots until the gateway is gone; answers with the exit status."""
    if not sys.path or sys.path[0] != os.getcwd():
        sys.path.insert(0, os.getcwd())
    begun = time.time_ns()
    try:
        _modules.load(settings.modules)
        if settings.serve is not None:
            _modules.serve(settings.serve)
    except _modules.ModuleError as error:
        wire.send({"error": str(error)})
        return 1
    sys.path.pop(0)
    _run.remember_path()
    _system.keep_orphans()
    sys.stdout.flush()
    # What is here stays: a slot that collects garbage need not look at it, nor have a copy of it.
    gc.collect()
    gc.freeze()
    files = _modules.Files(begun)
    wire.send({"ready": os.getpid()})
    _Server(wire, settings, files).serve()
    return 0


class _Server:
    def __init__(self, wire: Wire, settings: Settings, files: _modules.Files) -> None:
        self._wire, self._settings = wire, settings
        self._files, self._looked = files, time.monotonic()
        # By the descriptor that tells of its end.
        self._slots: dict[int, int] = {}
        self._waiting = select.poll()
        self._waiting.register(wire, select.POLLIN)

    def serve(self) -> None:
        while True:
            ready = {fd for fd, _ in self._waiting.poll(_LOOK * 1000)}
            for ended in ready & self._slots.keys():
                self._reap(ended)
            if self._wire.fileno() in ready:
                if (said := self._wire.receive()) is None:
                    return
                for fd in said[1]:
                    self._fork(fd)
            self._look()

    def _fork(self, fd: int) -> None:
        server = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._be_slot(server, fd)
        os.close(fd)
        pidfd = os.pidfd_open(pid)
        self._slots[pidfd] = pid
        self._waiting.register(pidfd, select.POLLIN)

    def _be_slot(self, server: int, fd: int) -> NoReturn:
        try:
            _system.die_with_parent(server)
            self._wire.close()
            close(self._slots)
            _slot.serve(Wire(socket.socket(fileno=fd)), self._settings)
        finally:
            os._exit(1)

    def _reap(self, pidfd: int) -> None:
        _, status = os.waitpid(self._slots.pop(pidfd), 0)
        self._waiting.unregister(pidfd)
        os.close(pidfd)
        if status != 0:
            # A call has killed its slot. What it started has come to us.
            _system.kill_all(frozenset(self._slots.values()))

    def _look(self) -> None:
        if time.monotonic() - self._looked < _LOOK:
            return
        if (changed := self._files.changed()) is not None:
            self._wire.send({"changed": changed})
        self._looked = time.monotonic()
