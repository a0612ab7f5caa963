"""A slot: runs one call at a time in a process of its own, and sees to it that nothing of the call is left.

Its process never runs anything of the calls itself, so that it stays as clean as the server that it was forked from.
Whatever a call starts descends from it, also what left its parent, its group and its session.
"""

import os
import select
import shutil
import signal
import time
import traceback
from typing import NoReturn

from toolbus._warm import _limits, _run, _system
from toolbus._warm._reused import Reused
from toolbus._warm._settings import Settings
from toolbus._warm._wire import Message, Wire, WireError, close

# How long what is asked to end may take to end by itself.
_GRACE = 0.7

# Between two looks at what a call uses.
_LOOK = 0.05


def serve(wire: Wire, settings: Settings) -> NoReturn:
    """Serves the gateway's end of a slot until it is gone."""
    status = 1
    try:
        _system.keep_orphans()
        Slot(wire, settings).serve()
        status = 0
    except (WireError, OSError):
        # The gateway is gone in the middle of a word.
        status = 2
    except BaseException:
        traceback.print_exc()
    finally:
        _system.kill_all()
        os._exit(status)


class Slot:
    """What runs one call after the other."""

    def __init__(self, wire: Wire, settings: Settings) -> None:
        self._wire = wire
        self._reused = Reused(settings, wire) if settings.reuse else None

    def serve(self) -> None:
        """Runs calls until the gateway is gone."""
        while True:
            if self._reused is not None:
                self._reused.ready()
            self._wire.wait()
            if (said := self._wire.receive()) is None:
                return
            request, fds = said
            # A call that was to end had ended.
            if "end" in request:
                close(fds)
                continue
            _Call(self._wire, self._reused, request).run(fds)


class _Call:
    def __init__(self, wire: Wire, reused: Reused | None, request: Message) -> None:
        self._wire, self._reused, self._request = wire, reused, request
        self._usage = _limits.Usage(request["limits"])
        self._exceeded: str | None = None
        self._gone = False

    def run(self, fds: list[int]) -> None:
        """Runs it to its end, and tells how it ended once nothing of it is left."""
        try:
            verdict = self._in_new(fds) if self._reused is None else self._in_reused(self._reused, fds)
        finally:
            if folder := self._request.get("folder"):
                shutil.rmtree(folder, ignore_errors=True)
        if self._gone:
            raise WireError("the gateway is gone")
        self._wire.send({"ended": f"exceeded {self._exceeded}" if self._exceeded else verdict})

    def _in_new(self, fds: list[int]) -> str:
        _run.prepare(self._request)
        slot = os.getpid()
        pid = os.fork()
        if pid == 0:
            _be(slot, self._wire, self._request, fds)
        close(fds)
        pidfd = os.pidfd_open(pid)
        try:
            self._watch(pid, pidfd, None)
            # What is left of its group goes at once; others are looked for.
            _system.signal_group(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
        finally:
            os.close(pidfd)
        _system.kill_all()
        return _told(status)

    def _in_reused(self, reused: Reused, fds: list[int]) -> str:
        pid, pidfd = reused.begin(self._request, fds)
        close(fds)
        self._usage.since(pid)
        done = self._watch(pid, pidfd, reused)
        if done is None or not reused.keep(done):
            status = reused.end()
            _system.kill_all()
            if done is None:
                return _told(status)
        return f"exit {done['done']}"

    def _watch(self, pid: int, pidfd: int, reused: Reused | None) -> Message | None:
        """Waits for the end of the process, or of the call in it; ends it where that is asked, or has to be."""
        waiting = select.poll()
        waiting.register(pidfd, select.POLLIN)
        waiting.register(self._wire, select.POLLIN)
        if reused is not None:
            waiting.register(reused.wire, select.POLLIN)
        look = _LOOK * 1000 if self._usage.limited else None
        ending: float | None = None
        while True:
            left = None if ending is None else max(0.0, ending - time.monotonic()) * 1000
            ready = {fd for fd, _ in waiting.poll(look if left is None else left)}
            if reused is not None and reused.wire.fileno() in ready:
                if (said := reused.heard()) is None:
                    waiting.unregister(reused.wire)
                elif "done" in said:
                    return said
                elif "old" not in said:
                    self._wire.send(said)
            if pidfd in ready:
                return None
            if self._wire.fileno() in ready and ending is None:
                # Asked to end, or nobody is there any more.
                self._gone = self._wire.receive() is None
                waiting.unregister(self._wire)
                ending = time.monotonic() + _GRACE
                _system.signal_group(pid, signal.SIGTERM)
            elif ending is not None and time.monotonic() >= ending:
                return None
            elif ending is None and not ready:
                self._exceeded = self._usage.exceeded()
                if self._exceeded is not None:
                    return None


def _be(slot: int, wire: Wire, request: Message, fds: list[int]) -> NoReturn:
    """Is the process of a call."""
    status = 70
    try:
        os.setsid()
        _system.die_with_parent(slot)
        try:
            _run.take_streams(fds, request["unbuffered"])
            _run.settle(request)
            _limits.hold(request["limits"])
            wire.send({"began": os.getpid()})
        except Exception as error:
            wire.send({"failed": f"{type(error).__name__}: {error}"})
            os._exit(status)
        wire.close()
        status = _run.finish(_run.run(request))
    finally:
        os._exit(status)


def _told(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"exit {code}" if code >= 0 else f"signal {-code}"
