"""`python -m toolbus.warm`: a call there is what it is with a Python of its own, and nothing of it stays."""

import os
import signal
import subprocess
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from _peer import PATIENCE
from _warm import PYTHON, Slot, Warm, descendants, until

Start = Callable[..., Warm]


@pytest.fixture
def warm(tmp_path: Path) -> Iterator[Start]:
    """Starts servers in the folder of the test; they end with it."""
    started: list[Warm] = []

    def start(*arguments: str) -> Warm:
        started.append(Warm(tmp_path, *arguments))
        return started[-1]

    yield start
    for one in started:
        one.end()


@pytest.fixture(scope="module", params=["fork", "reuse"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    """A server for many tests, in each mode."""
    started = Warm(tmp_path_factory.mktemp("server"), *(["--reuse"] if request.param == "reuse" else []))
    yield started
    started.end()


@pytest.fixture
def slot(server: Warm) -> Iterator[Slot]:
    """A slot of that server."""
    slot = server.slot()
    yield slot
    slot.wire.close()


def cold(cwd: Path, *line: str, given: bytes = b"") -> tuple[str, bytes, bytes]:
    """The same with a Python of its own: how it ended, and what it wrote."""
    env = {"PATH": os.environ["PATH"]}
    ran = subprocess.run([PYTHON, *line], input=given, capture_output=True, cwd=cwd, env=env, timeout=PATIENCE)
    ended = f"exit {ran.returncode}" if ran.returncode >= 0 else f"signal {-ran.returncode}"
    return ended, ran.stdout, ran.stderr


SCRIPTS = {
    "says what it sees": """
        import json, os, sys
        print(json.dumps([sys.argv, sys.path[0], __name__, __file__, os.getcwd(), os.environ["PATH"], sys.stdin.read()]))
        print("to the log", file=sys.stderr)
    """,
    "is __main__": """
        import pickle, sys
        from dataclasses import dataclass
        @dataclass
        class Point:
            x: "int"
        assert sys.modules["__main__"].Point is Point and __spec__ is None and __package__ is None
        print(pickle.loads(pickle.dumps(Point(3))))
    """,
    "raises": """
        def inner():
            raise ValueError("no")
        def outer():
            inner()
        outer()
    """,
    "raises of another": """
        try:
            {}["a"]
        except KeyError as error:
            raise RuntimeError("second") from error
    """,
    "does not compile": "def (",
    "exits with a number": "import sys; print('a'); sys.exit(3)",
    "exits with words": "import sys; sys.exit('because')",
    "exits without": "raise SystemExit",
    "exits with a large number": "raise SystemExit(259)",
    "leaves at once": "import os; print('lost'); os._exit(7)",
    "is killed": "import os; os.kill(os.getpid(), 9)",
    "crashes": "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
    "is interrupted": "raise KeyboardInterrupt",
    "has exit handlers and threads": """
        import atexit, threading, time
        atexit.register(print, "at the end")
        def late():
            time.sleep(0.2)
            print("from a thread")
        threading.Thread(target=late).start()
    """,
    "has its own hook": """
        import sys
        sys.excepthook = lambda *error: print("hooked", error[1], file=sys.stderr)
        raise ValueError("x")
    """,
    "runs others": """
        import subprocess, sys
        print(subprocess.run([sys.executable, "-c", "print(input())"], input="in", capture_output=True, text=True).stdout)
    """,
    "runs itself again": """
        import multiprocessing
        def double(x):
            return 2 * x
        if __name__ == "__main__":
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                print(pool.map(double, [1, 2]))
    """,
    "writes bytes": "import sys; sys.stdout.buffer.write(bytes(range(256)) * 5000)",
    "writes what has no encoding": "print('\\ud800')",
    "asks for a module that is not there": "import not_there",
    "closes its output": "import sys; print('a'); sys.stdout.close()",
}


def written(folder: Path, source: str, name: str = "script.py") -> str:
    """Writes a script; answers with its name."""
    (folder / name).write_text(textwrap.dedent(source).lstrip("\n"))
    return name


@pytest.mark.parametrize("source", SCRIPTS.values(), ids=SCRIPTS.keys())
def test_a_script_does_what_it_does_cold(tmp_path: Path, slot: Slot, source: str) -> None:
    name = written(tmp_path, source)
    expected = cold(tmp_path, name, "--flag", "word", given=b'{"a": 1}')
    for _ in range(2):
        ended = slot.call(tmp_path, b'{"a": 1}', path=name, arguments=["--flag", "word"])
        assert (ended.verdict, ended.out, ended.err) == expected


def test_modules_do_what_they_do_cold(tmp_path: Path, warm: Start) -> None:
    (tmp_path / "pack").mkdir()
    written(tmp_path / "pack", "", "__init__.py")
    written(tmp_path / "pack", "import sys\nif __name__ == '__main__': print(__name__, __package__, __spec__.name, sys.argv[1:], sys.path[0])", "tool.py")
    written(tmp_path / "pack", "import pack.tool\nraise ValueError('main')", "__main__.py")
    for modules in [], ["pack.tool"], ["--reuse", "pack.tool"]:
        slot = warm(*modules).slot()
        for module in "pack.tool", "pack", "pack.none", "json.tool":
            ended = slot.call(tmp_path, b"[1]", module=module, arguments=["x"] if "pack" in module else [])
            expected = cold(tmp_path, "-m", module, *(["x"] if "pack" in module else []), given=b"[1]")
            assert (ended.verdict, ended.out, ended.err) == expected


def test_code_and_what_is_not_there(tmp_path: Path, slot: Slot) -> None:
    ended = slot.call(tmp_path, code="import sys; print(sys.argv); 1/0", arguments=["x"])
    assert (ended.verdict, ended.out, ended.err) == cold(tmp_path, "-c", "import sys; print(sys.argv); 1/0", "x")
    ended = slot.call(tmp_path, path="none.py")
    assert (ended.verdict, ended.out, ended.err) == cold(tmp_path, "none.py")
    begun = slot.begin(tmp_path / "none", path="none.py")
    assert "FileNotFoundError" in begun.began["failed"]
    assert begun.ended().verdict == "exit 70"


def test_a_changed_script_is_run_as_it_is(tmp_path: Path, slot: Slot) -> None:
    for text in "one", "three", "five":
        name = written(tmp_path, f"print({text!r})")
        assert slot.call(tmp_path, path=name).out == f"{text}\n".encode()


def test_the_side_channel_and_the_environment_are_of_the_call(tmp_path: Path, slot: Slot) -> None:
    source = "import os, time; os.write(3, os.environ.get('A', '-').encode()); print(time.tzname, list(os.environ))"
    first = slot.call(tmp_path, code=source, env={"A": "b", "TZ": "Asia/Tokyo"})
    assert first.side == b"b" and b"JST" in first.out and b"'A', 'TZ'" in first.out
    second = slot.call(tmp_path, code=source, env={"TZ": "UTC"})
    assert second.side == b"-" and b"UTC" in second.out and b"'A'" not in second.out


LEAVES = """
import os, subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(600)
    os._exit(0)
print("left", flush=True)
"""


def test_nothing_of_a_call_is_left(tmp_path: Path, warm: Start, slot: Slot) -> None:
    ended = slot.call(tmp_path, code=LEAVES)
    assert (ended.verdict, ended.out) == ("exit 0", b"left\n")
    assert slot.call(tmp_path, code="print(1)").out == b"1\n"


def test_a_call_is_ended_with_all_it_started(tmp_path: Path, slot: Slot) -> None:
    stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + LEAVES + "time.sleep(600)\n"
    begun = slot.begin(tmp_path, code=stubborn)
    begun.written(b"left")
    begun.end()
    assert begun.ended().verdict == "signal 9"
    gentle = "import signal, sys, time\nsignal.signal(15, lambda *_: sys.exit(4))\nprint('up', flush=True)\ntime.sleep(600)"
    begun = slot.begin(tmp_path, code=gentle)
    begun.written(b"up")
    begun.end()
    assert begun.ended().verdict == "exit 4"
    assert slot.call(tmp_path, code="print(1)").out == b"1\n"


FORKS = "import os, time\nfor _ in range(200):\n  if os.fork() == 0: time.sleep(600)\ntime.sleep(600)"
SPREADS = "import os, time\nfor _ in range(3): os.fork()\na = bytearray(b'x') * (30 << 20)\ntime.sleep(600)"

# Each on its own stays below the limit; together they do not.
HOGS = {
    "processes": (FORKS, {"processes": 20}),
    "memory": (SPREADS, {"memory": 150 << 20}),
    "cpu": ("import os\nfor _ in range(3): os.fork()\nwhile True: pass", {"cpu": 1}),
}


@pytest.mark.parametrize("name", HOGS)
def test_limits_of_all_processes_of_a_call(tmp_path: Path, slot: Slot, name: str) -> None:
    source, limits = HOGS[name]
    assert slot.call(tmp_path, code=source, limits=limits).verdict == f"exceeded {name}"
    assert slot.call(tmp_path, code="print(1)", limits=limits).out == b"1\n"


# What a single process meets, and how that ends.
KERNEL = {
    "memory": ("a = bytearray(300 << 20)", 200 << 20, "exit 1", b"MemoryError"),
    "address_space": ("a = bytearray(3 << 30)", 2 << 30, "exit 1", b"MemoryError"),
    "cpu": ("while True: pass", 1, f"signal {signal.SIGXCPU}", b""),
    "file_size": ("f = open('file', 'wb', 0)\nwhile True: f.write(b'a' * 600)", 1000, "exit 1", b"File too large"),
    "open_files": ("a = [open('/dev/null') for _ in range(50)]", 30, "exit 1", b"Too many open files"),
}


@pytest.mark.parametrize("name", KERNEL)
def test_limits_of_a_process(tmp_path: Path, slot: Slot, name: str) -> None:
    source, limit, verdict, said = KERNEL[name]
    for _ in range(2):
        ended = slot.call(tmp_path, code=source, limits={name: limit})
        assert ended.verdict == verdict and said in ended.err
    assert slot.call(tmp_path, code="print(1)").out == b"1\n"


def test_a_module_is_imported_once(tmp_path: Path, warm: Start) -> None:
    source = "import os\nprint('heard by nobody')\nopen('imports', 'a').write('x')\nparent = os.getpid()"
    written(tmp_path, source, "heavy.py")
    slot = warm("heavy").slot()
    for _ in range(3):
        ended = slot.call(tmp_path, code="import heavy, os; print(heavy.parent == os.getppid(), heavy.parent)")
        assert ended.verdict == "exit 0" and ended.err == b""
    assert (tmp_path / "imports").read_text() == "x"


@pytest.mark.parametrize(
    "source, said",
    [
        ("import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True, name='pump').start()", "started 1 thread"),
        ("import os, time\nif os.fork() == 0: time.sleep(600)", "started 1 process"),
        ("raise ValueError('no')", "cannot be imported: ValueError: no"),
        ("raise SystemExit", "cannot be imported: SystemExit"),
    ],
)
def test_what_cannot_be_kept_ready_is_said(tmp_path: Path, warm: Start, source: str, said: str) -> None:
    written(tmp_path, source, "heavy.py")
    server = warm("heavy")
    assert "module 'heavy'" in server.first["error"] and said in server.first["error"]
    for pid in descendants(server.process.pid):
        os.kill(pid, signal.SIGKILL)
    assert server.process.wait(PATIENCE) == 1


def test_a_change_of_a_module_is_told(tmp_path: Path, warm: Start) -> None:
    written(tmp_path, "a = 1", "heavy.py")
    server = warm("heavy")
    written(tmp_path, "a = 2000", "heavy.py")
    assert server.heard() == {"changed": str(tmp_path / "heavy.py")}


def test_reused_keeps_what_it_imported_until_that_changes(tmp_path: Path, warm: Start) -> None:
    slot = warm("--reuse").slot()
    written(tmp_path, "import os\na = 1\npid = os.getpid()", "later.py")
    source = "import sys; sys.path.insert(0, '.'); import later, os; print(later.a, os.getpid() == later.pid)"
    pids = {slot.call(tmp_path, code="import os; print(os.getpid())").out for _ in range(3)}
    assert len(pids) == 1
    assert slot.call(tmp_path, code=source).out == b"1 True\n"
    written(tmp_path, "import os\na = 2000\npid = os.getpid()", "later.py")
    until(lambda: slot.call(tmp_path, code=source).out == b"2000 True\n", "the change")


def test_reused_is_replaced(tmp_path: Path, warm: Start) -> None:
    who = "import os; print(os.getpid())"
    slot = warm("--reuse", "--calls", "2").slot()
    pids = [slot.call(tmp_path, code=who).out for _ in range(5)]
    assert pids[0] == pids[1] != pids[2] == pids[3] != pids[4]
    for option in ("--age", "0"), ("--resident", "1"):
        slot = warm("--reuse", *option).slot()
        assert len({slot.call(tmp_path, code=who).out for _ in range(3)}) == 3
    slot = warm("--reuse").slot()
    pids = [slot.call(tmp_path, code=who + "; import threading, time; threading.Thread(target=time.sleep, args=(60,), daemon=True).start()").out]
    pids.append(slot.call(tmp_path, code=who).out)
    assert pids[0] != pids[1]


def test_reused_puts_back_what_calls_change(tmp_path: Path, warm: Start) -> None:
    slot = warm("--reuse").slot()
    (tmp_path / "other").mkdir()
    changes = "import os, signal, sys; os.chdir('other'); os.umask(0); os.environ['A'] = 'b'; sys.path.append('x'); signal.signal(15, print); signal.alarm(100); mine = 1; print(os.getpid())"
    looks = (
        "import os, signal, sys; print(os.getpid()); print(os.path.basename(os.getcwd()), os.umask(0o22), 'A' in os.environ, 'x' in sys.path, "
        "signal.getsignal(15) == signal.SIG_DFL, signal.alarm(0), 'mine' in globals())"
    )
    changed = slot.call(tmp_path, code=changes)
    looked = slot.call(tmp_path, code=looks)
    umask = os.umask(0o22)
    os.umask(umask)
    expected = f"{tmp_path.name} {umask} False False True 0 False\n".encode()
    assert looked.out == changed.out + expected


def test_reused_lets_go_of_copies_of_the_streams(tmp_path: Path, warm: Start) -> None:
    slot = warm("--reuse").slot()
    source = "import os; [os.dup(fd) for fd in range(4)]; print(os.getpid(), len(os.listdir('/proc/self/fd')))"
    first = slot.call(tmp_path, code=source)
    assert first.verdict == "exit 0" and slot.call(tmp_path, code=source).out == first.out


def test_reused_keeps_what_nobody_took_from_the_next_call(tmp_path: Path, warm: Start) -> None:
    slot = warm("--reuse").slot()
    # Its own end of the pipes is closed, so that nothing more can be written.
    deaf = "import os, sys; print(os.getpid()); sys.stdout.flush(); null = os.open('/dev/full', os.O_WRONLY); [os.dup2(null, fd) for fd in (1, 2)]; print('late'); raise ValueError('late')"
    first = slot.call(tmp_path, code=deaf)
    assert first.verdict == "exit 1" and first.err == b""
    second = slot.call(tmp_path, code="import os; print(os.getpid())")
    assert (second.out, second.err) == (first.out, b"")


def test_a_call_that_kills_its_slot_takes_nobody_along(tmp_path: Path, warm: Start) -> None:
    server = warm()
    slot, other = server.slot(), server.slot()
    beside = other.begin(tmp_path, code="import time; print('up', flush=True); time.sleep(600)")
    beside.written(b"up")
    before = descendants(server.process.pid)
    kills = "import ctypes, os, signal, time\nctypes.CDLL(None).prctl(1, 0)\nos.kill(os.getppid(), 9)\n" + LEAVES + "time.sleep(600)"
    begun = slot.begin(tmp_path, code=kills)
    with pytest.raises(AssertionError, match="the slot is gone"):
        begun.heard()
    until(lambda: len(descendants(server.process.pid)) == len(before) - 1, "all of that call is gone")
    beside.end()
    assert beside.ended().verdict == "signal 15"


@pytest.mark.parametrize("mode", [[], ["--reuse"]])
def test_all_is_gone_with_the_gateway(tmp_path: Path, warm: Start, mode: list[str]) -> None:
    server = warm(*mode)
    slot = server.slot()
    slot.begin(tmp_path, code="import time; print('up', flush=True); time.sleep(600)").written(b"up")
    slot.wire.close()
    until(lambda: not descendants(server.process.pid), "the slot and its call are gone")
    idle = server.slot()
    assert idle.call(tmp_path, code="print(1)").out == b"1\n"
    server.wire.close()
    assert server.process.wait(PATIENCE) == 0
