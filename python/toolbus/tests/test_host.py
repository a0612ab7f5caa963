"""`python -m toolbus.host`: which object of a file is served, and what is said where none is."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from _peer import PATIENCE, Host, environment, written

Start = Callable[..., Host]

WORKER = '''
    from toolbus import Worker
    worker = Worker()
    @worker.tool()
    def one() -> int:
        return 1
'''


def refused(target: object) -> str:
    """What is said where nothing can be served."""
    command = [sys.executable, "-m", "toolbus.host", *([str(target)] if target else [])]
    ended = subprocess.run(command, capture_output=True, timeout=PATIENCE, env=environment(), stdin=subprocess.DEVNULL)
    assert ended.returncode == 2 and ended.stdout == b""
    return ended.stderr.decode()


def test_plain_functions(tmp_path: Path, host: Start) -> None:
    source = '''
        """Sums."""
        from os.path import join
        import math

        def typed(a: int) -> int:
            return a + 1

        def described(a):
            """Says it."""
            return f"said {a}"

        async def later() -> str:
            return "later"

        def neither(a):
            return a

        def _private(a: int) -> int:
            return a

        def odd(*args: int) -> int:
            return 0

        class Thing:
            """No function."""
    '''
    served = host(written(tmp_path, source, "sums.py"))
    tools = served.peer.tools()
    assert list(tools) == ["typed", "described", "later"]
    assert tools["described"]["description"] == "Says it."
    found = served.peer.result(served.peer.begin("server/discover"))
    assert found["instructions"] == "Sums."
    assert found["_meta"]["io.modelcontextprotocol/serverInfo"]["name"] == "sums"
    assert served.peer.text("typed", {"a": 1}) == "2" and served.peer.text("later") == "later"
    served.hang_up()
    assert b"not served: tool 'odd'" in served.stderr


@pytest.mark.parametrize("last", ["", "worker.run()", "import toolbus; toolbus.serve(worker)"])
def test_a_worker_with_or_without_run(tmp_path: Path, host: Start, last: str) -> None:
    # Of the name of a module of the standard library, as the first file that anybody writes.
    served = host(written(tmp_path, WORKER + f"    {last}\n", "math.py"))
    assert served.peer.text("one") == "1"
    found = served.peer.result(served.peer.begin("server/discover"))
    assert found["_meta"]["io.modelcontextprotocol/serverInfo"]["name"] == "math"


def test_what_a_file_prints_and_reads_stays_off_the_wire(tmp_path: Path, host: Start) -> None:
    source = WORKER + '''
    import os, subprocess, sys
    print("printed at the start")
    @worker.tool()
    def noisy() -> str:
        print("printed in a call")
        os.write(1, b"written to the descriptor\\n")
        subprocess.run(["echo", "by a child"])
        return repr(sys.stdin.read())
    '''
    served = host(written(tmp_path, source))
    assert served.peer.text("noisy") == "''"
    assert served.hang_up() == 0
    for said in (b"at the start", b"in a call", b"to the descriptor", b"by a child"):
        assert said in served.stderr


def test_one_of_several(tmp_path: Path, host: Start) -> None:
    file = written(tmp_path, WORKER + '''
    other = Worker("other")
    @other.tool()
    def two() -> int:
        return 2
    class Group:
        inner = other
    def three() -> int:
        return 3
    ''')  # fmt: skip
    assert "'worker', 'other'" in refused(file) and f"{file}:worker" in refused(file)
    assert host(f"{file}:other").peer.text("two") == "2"
    assert host(f"{file}:Group.inner").peer.text("two") == "2"
    assert list(host(f"{file}:three").peer.tools()) == ["three"]
    assert "there is no 'missing'" in refused(f"{file}:missing")
    assert "neither a server nor a function, but str" in refused(f"{file}:__name__")


def test_siblings_can_be_imported_and_classes_pickled(tmp_path: Path, host: Start) -> None:
    written(tmp_path, "def helped() -> str:\n    return 'helped'\n", "helper.py")
    source = '''
        import pickle
        from helper import helped
        class Thing: pass
        def use() -> str:
            return helped() + type(pickle.loads(pickle.dumps(Thing()))).__name__
    '''
    served = host(written(tmp_path, source))
    assert list(served.peer.tools()) == ["use"] and served.peer.text("use") == "helpedThing"


def test_files_that_cannot_be_served(tmp_path: Path) -> None:
    assert "usage:" in refused(None)
    assert f"{tmp_path}/missing.py is no file" in refused(tmp_path / "missing.py")
    assert "its name ends in .py" in refused(written(tmp_path, "", "tools.txt"))
    empty = refused(written(tmp_path, "x = 1"))
    assert "serves nothing: give it a Worker" in empty
    broken = refused(written(tmp_path, "def f(:\n    pass"))
    assert "cannot be loaded" in broken and "SyntaxError" in broken
    failing = refused(written(tmp_path, "import no_such_module"))
    assert "ModuleNotFoundError" in failing and "tools.py" in failing
    wrong = refused(written(tmp_path, "import toolbus\ntoolbus.serve(7)"))
    assert "toolbus.serve takes a FastMCP or MCPServer object, and not int" in wrong


def test_standard_streams_can_be_files(tmp_path: Path) -> None:
    file, requests, answers = written(tmp_path, WORKER), tmp_path / "in", tmp_path / "out"
    requests.write_text('{"jsonrpc":"2.0","id":1,"method":"ping"}\n')
    with requests.open() as source, answers.open("w") as sink:
        command = [sys.executable, "-m", "toolbus.host", str(file)]
        ended = subprocess.run(command, stdin=source, stdout=sink, timeout=PATIENCE, env=environment())
    assert ended.returncode == 0 and answers.read_text() == '{"jsonrpc":"2.0","id":1,"result":{}}\n'
