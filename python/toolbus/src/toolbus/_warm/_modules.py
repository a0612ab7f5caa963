"""The modules that are imported once for all calls, and whether their files are still what was imported."""

import importlib
import os
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterable

from toolbus._warm import _system

# Files that are looked at once a second; a large application has some thousands.
_MOST_FILES = 4096

Stamp = tuple[int, int, int]


class ModuleError(Exception):
    """A module that cannot be kept ready."""


def load(names: Iterable[str]) -> None:
    """Imports modules. Afterwards this process still has one thread and no child, so that it can be forked."""
    for name in names:
        _load(f"module {name!r}", lambda: importlib.import_module(name))


def serve(target: str) -> None:
    """Loads what serves tools, for each `python -m toolbus.script` that is to come."""
    # Imported by nobody who has no use for it.
    from toolbus import _load as loader

    importlib.import_module("toolbus.script")
    _load(target, lambda: loader.keep(target))


def _load(what: str, load: Callable[[], object]) -> None:
    try:
        load()
    except BaseException as error:
        raise ModuleError(f"{what} cannot be imported: {type(error).__name__}: {error}") from error
    _check(what)


def _check(what: str) -> None:
    threads = len(os.listdir("/proc/self/task")) - 1
    if threads:
        known = ", ".join(thread.name for thread in threading.enumerate() if thread is not threading.main_thread())
        raise ModuleError(
            f"{what} started {threads} thread(s) when it was imported ({known or 'not of Python'}), and a process with "
            "threads cannot be forked safely: take it out of `modules`, so that each call imports it itself, or keep it from "
            "starting threads, as OPENBLAS_NUM_THREADS=1 does for numerical packages"
        )
    children = _system.children(os.getpid())
    if children:
        raise ModuleError(
            f"{what} started {len(children)} process(es) when it was imported, which calls would share: take it out "
            "of `modules`, so that each call imports it itself"
        )


def stamp(path: str) -> Stamp | None:
    """What changes when a file does; nothing where there is no file."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


class Files:
    """The files of what was imported."""

    def __init__(self, since: int, known: frozenset[str] = frozenset()) -> None:
        """Those of all modules but the known ones. Python's own library is left out: it does not change.

        What was written since then, in nanoseconds of the clock, may not be what was imported, and counts as changed.
        """
        # Both, because a virtual environment lies elsewhere than the library that it uses.
        own = tuple({os.path.join(sysconfig.get_path(name), "") for name in ("stdlib", "platstdlib")})
        site = tuple({os.path.join(sysconfig.get_path(name), "") for name in ("purelib", "platlib")})
        self._stamps: dict[str, Stamp | None] = {}
        for name, module in list(sys.modules.items()):
            file = getattr(module, "__file__", None)
            if name in known or not isinstance(file, str) or (file.startswith(own) and not file.startswith(site)):
                continue
            if len(self._stamps) == _MOST_FILES:
                break
            now = stamp(file)
            self._stamps[file] = now if now is None or now[0] < since else None

    def changed(self) -> str | None:
        """A file that is not what it was. Each change is told once."""
        for file, known in self._stamps.items():
            if (now := stamp(file)) != known:
                self._stamps[file] = now
                return file
        return None
