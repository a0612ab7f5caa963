"""Makes a forked process one that Python might have started: its streams, its folder, its environment, its `__main__`."""

import atexit
import builtins
import importlib.machinery
import io
import os
import runpy
import signal
import sys
import threading
import time
import types
from typing import Any, TextIO

from toolbus._warm import _modules
from toolbus._warm._wire import Message

# Scripts whose code is kept.
_MOST_CODES = 64

_codes: dict[str, tuple[_modules.Stamp, types.CodeType]] = {}

_path = list(sys.path)


def remember_path() -> None:
    """What `sys.path` is now, is what each call finds, with the folder of its script in front."""
    _path[:] = sys.path


def prepare(request: Message) -> None:
    """Compiles the script of a call, where it is not compiled yet: this process is forked for many."""
    path = request.get("path")
    if path is None:
        return
    path = os.path.join(request["cwd"], path)
    now = _modules.stamp(path)
    if now is None or not os.path.isfile(path) or _codes.get(path, (None,))[0] == now:
        return
    try:
        with io.open_code(path) as file:
            code = compile(file.read(), path, "exec", dont_inherit=True)
    except Exception:
        # The call meets the same error, and shows it as Python does.
        _codes.pop(path, None)
        return
    if len(_codes) >= _MOST_CODES:
        _codes.clear()
    _codes[path] = now, code


def take_streams(fds: list[int], unbuffered: bool) -> None:
    """Puts the descriptors of a call to 0, 1, 2, and the fourth, its side channel, to 3."""
    for number, fd in enumerate(fds):
        os.dup2(fd, number)
        os.close(fd)
    # As Python opens them, in the encodings that it chose at its start.
    read = io.open(0, encoding=sys.stdin.encoding, errors=sys.stdin.errors, closefd=False)
    sys.stdin = sys.__stdin__ = read  # type: ignore[misc]
    out = _writer(1, sys.stdout, unbuffered, by_lines=False)
    sys.stdout = sys.__stdout__ = out  # type: ignore[misc]
    err = _writer(2, sys.stderr, unbuffered, by_lines=True)
    sys.stderr = sys.__stderr__ = err  # type: ignore[misc]


def _writer(fd: int, old: TextIO, unbuffered: bool, by_lines: bool) -> io.TextIOWrapper:
    raw = io.FileIO(fd, "w", closefd=False)
    binary = raw if unbuffered else io.BufferedWriter(raw)
    lines = by_lines and not unbuffered
    return io.TextIOWrapper(binary, old.encoding, old.errors, line_buffering=lines, write_through=unbuffered)


def settle(request: Message) -> None:
    """The folder, the environment and the arguments of a call."""
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    time.tzset()
    sys.path[:] = _path
    main = types.ModuleType("__main__")
    main.__dict__["__builtins__"] = builtins
    main.__dict__["__annotations__"] = {}
    sys.modules["__main__"] = main


def run(request: Message) -> int:
    """Runs the script or module of a call as `__main__`; answers with the exit status. Never raises."""
    try:
        try:
            _start(request)
            return 0
        except SystemExit as error:
            return _status(error)
        except KeyboardInterrupt:
            _show()
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
            return 130
        except BaseException:
            _show()
            return 1
    except BaseException:
        # Whoever replaced `sys.excepthook` or closed the streams: Python itself would end with this as well.
        return 1


def _start(request: Message) -> None:
    arguments = request["arguments"]
    if (module := request.get("module")) is not None:
        sys.argv = ["-m", *arguments]
        _look_first_in(request, os.getcwd())
        # A module that is kept ready runs anew as `__main__`, and whoever imports it by its name gets another one.
        for name in (module, f"{module}.__main__"):
            if not hasattr(sys.modules.get(name), "__path__"):
                sys.modules.pop(name, None)
        # What `python -m` itself calls.
        runpy._run_module_as_main(module)  # type: ignore[attr-defined]
    elif (code := request.get("code")) is not None:
        sys.argv = ["-c", *arguments]
        _look_first_in(request, "")
        exec(compile(code, "<string>", "exec", dont_inherit=True), _main())
    else:
        _script(request, arguments)


def _look_first_in(request: Message, folder: str) -> None:
    if not request["safe_path"]:
        sys.path.insert(0, folder)


def _main() -> dict[str, Any]:
    return sys.modules["__main__"].__dict__


def _script(request: Message, arguments: list[str]) -> None:
    given = request["path"]
    sys.argv = [given, *arguments]
    path = os.path.join(os.getcwd(), given)
    if os.path.isdir(path):
        runpy.run_path(given, run_name="__main__")
        return
    _look_first_in(request, os.path.dirname(os.path.realpath(path)))
    known = _codes.get(path)
    if known is not None and known[0] == _modules.stamp(path):
        code = known[1]
    else:
        try:
            with io.open_code(path) as file:
                source = file.read()
        except OSError as error:
            print(f"{sys.executable}: can't open file {path!r}: [Errno {error.errno}] {error.strerror}", file=sys.stderr)
            raise SystemExit(2) from None
        code = compile(source, path, "exec", dont_inherit=True)
    loader = importlib.machinery.SourceFileLoader("__main__", path)
    _main().update(__file__=path, __cached__=None, __loader__=loader)
    exec(code, _main())


def _status(error: SystemExit) -> int:
    """The exit status of `sys.exit(...)`, as Python has it."""
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code & 0xFF
    print(error.code, file=sys.stderr)
    return 1


def _show() -> None:
    """Shows an exception as Python does, without the frames that lead from here to the script."""
    kind, error, trace = sys.exc_info()
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    if kind is not None and error is not None:
        sys.excepthook(kind, error.with_traceback(trace), trace)


def finish(status: int) -> int:
    """What Python does before it ends, but for taking every object down: waits for threads, runs exit handlers, writes."""
    try:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
    except BaseException:
        _show()
    return flush(status)


def flush(status: int) -> int:
    """Writes what is buffered; where nobody takes it, the status is the one that Python has for this."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None and not stream.closed:
                stream.flush()
        except Exception:
            status = 120 if status == 0 else status
    return status


def threads_left() -> bool:
    """Waits for threads as Python does at its end; answers whether others are left, which run on."""
    threads = [thread for thread in threading.enumerate() if thread is not threading.main_thread()]
    for thread in threads:
        if not thread.daemon:
            thread.join()
    return threading.active_count() > 1
