"""A file that runs itself: the worker that it starts, how both end, and what is said where one cannot start."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from _peer import OLD_PYTHON, PATIENCE, ROOT, connected, environment, written
from test_servers import MCP_1, MCP_2, OTHER

# In the place of the worker: it notes how it was started and what it is told, and ends when it is let go.
STAND_IN = '''#!{python}
import json, os, pathlib, signal, sys, time

folder = pathlib.Path(os.environ["STAND_IN"])

def told(number, frame):
    with (folder / "signals").open("a") as file:
        print(signal.Signals(number).name, file=file)

for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, told)
note = dict(argv=sys.argv[1:], pid=os.getpid(), group=os.getpgrp())
(folder / "note.part").write_text(json.dumps(note))
(folder / "note.part").rename(folder / "note")
while not (folder / "let-go").exists():
    time.sleep(0.01)
sys.exit(int((folder / "let-go").read_text()))
'''

TOOLS = '''
    import asyncio
    from toolbus import Worker

    worker = Worker("runs")

    @worker.tool()
    async def add(a: int, b: int) -> int:
        return a + b

    @worker.tool()
    async def wait(seconds: float) -> str:
        await asyncio.sleep(seconds)
        return "waited"

    @worker.tool()
    def in_a_process() -> int:
        import concurrent.futures, multiprocessing
        context = multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
            return pool.submit(abs, -7).result()

    worker.run()
    print("not reached where the worker ended badly")
'''


def eventually(holds: Callable[[], Any], what: str) -> Any:
    """Waits until something holds."""
    until = time.monotonic() + PATIENCE
    while not (seen := holds()):
        assert time.monotonic() < until, what
        time.sleep(0.01)
    return seen


class Running:
    """A file that runs, with the stand-in for its worker."""

    def __init__(
        self, folder: Path, source: str, *arguments: str, python: object = sys.executable, name: str = "tools.py"
    ) -> None:
        self.folder = folder
        # Not beside the file: it is Python, too, and would import what the file shadows.
        stand_in = folder / "bin" / "toolbus"
        stand_in.parent.mkdir()
        stand_in.write_text(STAND_IN.format(python=sys.executable))
        stand_in.chmod(0o755)
        more = {"TOOLBUS_BIN": str(stand_in), "STAND_IN": str(folder)}
        command = [str(python), str(written(folder, source, name)), *arguments]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, env=environment(**more), stdout=pipe, stderr=pipe, text=True)
        eventually((folder / "note").exists, "the worker did not start")
        self.note = json.loads((folder / "note").read_text())
        self.socket = Path(self.note["argv"][self.note["argv"].index("--socket") + 1])

    def let_go(self, status: int = 0) -> None:
        """Has the stand-in end."""
        (self.folder / "let-go.part").write_text(str(status))
        (self.folder / "let-go.part").rename(self.folder / "let-go")

    def signals(self) -> list[str]:
        """What the stand-in was told."""
        noted = self.folder / "signals"
        return noted.read_text().split() if noted.exists() else []

    def ended(self) -> tuple[int, str]:
        """Waits for the end of the file's process; answers with its status and what it said."""
        said = self.process.communicate(timeout=PATIENCE)[1]
        return self.process.returncode, said

    def end(self) -> None:
        """Ends both, however they are."""
        self.process.kill()
        self.process.wait(PATIENCE)
        if not (self.folder / "let-go").exists():
            self.let_go()
        eventually(lambda: not is_running(self.note["pid"]), "the stand-in did not end")


def is_running(pid: int) -> bool:
    """Whether a process is there, and no zombie that nobody waited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Runs files; all ends with the test."""
    started: list[Running] = []

    def start(*arguments: Any, **more: Any) -> Running:
        started.append(Running(tmp_path, *arguments, **more))
        return started[-1]

    yield start
    for one in started:
        one.end()


Run = Callable[..., Running]


def test_the_worker_finds_the_tools_at_a_private_socket(run: Run) -> None:
    running = run(TOOLS, "--url", "nats://127.0.0.1:1", "--max", "3")
    assert running.note["argv"] == [
        "worker", "--socket", str(running.socket), "--name", "runs", "--url", "nats://127.0.0.1:1", "--max", "3",
    ]  # fmt: skip
    assert running.socket.parent.stat().st_mode & 0o777 == 0o700
    # A terminal's Ctrl-C reaches it through us alone.
    assert running.note["group"] == running.note["pid"]
    one, other = connected(running.socket), connected(running.socket)
    assert one.text("add", {"a": 1, "b": 2}) == "3" and other.text("add", {"a": 2, "b": 2}) == "4"
    assert one.ask("in_a_process")["structuredContent"] == {"result": 7}
    running.let_go()
    status, said = running.ended()
    assert (status, said) == (0, "")
    assert not running.socket.parent.exists()


@pytest.mark.parametrize("given", [["--name", "else"], ["--name=else"]])
def test_the_command_line_can_name_it(run: Run, given: list[str]) -> None:
    running = run(TOOLS, *given)
    assert running.note["argv"] == ["worker", "--socket", str(running.socket), *given]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_are_passed_on_and_what_runs_is_served_until_the_worker_ends(run: Run, number: signal.Signals) -> None:
    running = run(TOOLS)
    peer = connected(running.socket)
    waiting = peer.call("wait", {"seconds": 1})
    assert peer.text("add", {"a": 1, "b": 2}) == "3"
    running.process.send_signal(number)
    eventually(lambda: running.signals() == [number.name], "the signal was not passed on")
    assert peer.result(waiting)["content"][0]["text"] == "waited"
    running.process.send_signal(number)
    eventually(lambda: running.signals() == [number.name] * 2, "the second signal was not passed on")
    running.let_go()
    assert running.ended() == (0, "")


def test_a_file_with_the_name_of_a_module_of_the_standard_library(run: Run) -> None:
    running = run(TOOLS.replace("    import asyncio\n", "").replace("Worker\n", "Worker\n    import asyncio\n", 1), name="math.py")
    assert connected(running.socket).text("add", {"a": 1, "b": 2}) == "3"
    assert connected(running.socket).ask("in_a_process")["structuredContent"] == {"result": 7}


def test_a_worker_that_is_killed_ends_the_file_with_a_word(run: Run) -> None:
    running = run(TOOLS)
    os.kill(running.note["pid"], signal.SIGKILL)
    status, said = running.ended()
    assert status == 1 and "was killed by signal 9; nothing is served any more" in said
    assert not running.socket.parent.exists()


def test_a_worker_that_ends_badly_ends_the_file_with_its_status(run: Run) -> None:
    running = run(TOOLS)
    running.let_go(3)
    status, said = running.ended()
    assert status == 3 and "ended with status 3; nothing is served any more" in said


def test_a_file_that_is_killed_closes_its_connections(run: Run) -> None:
    running = run(TOOLS)
    peer = connected(running.socket)
    assert peer.text("add", {"a": 1, "b": 2}) == "3"
    running.process.kill()
    assert peer.closed() == []


@pytest.mark.parametrize("package", ["mcp 2", "mcp 1"])
def test_servers_of_other_packages_serve_every_connection(run: Run, package: str) -> None:
    source = OTHER.format(**(MCP_2 if package == "mcp 2" else MCP_1) | {"last": "import toolbus; toolbus.serve(mcp)"})
    python = sys.executable if package == "mcp 2" else OLD_PYTHON
    if not Path(python).exists():
        pytest.skip(f"skipped: no {python}")
    running = run(source, python=python)
    assert running.note["argv"][-2:] == ["--name", "other"]
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    peers = [connected(running.socket) for _ in range(2)]
    for peer in peers:
        peer.send({"id": 1, "method": "initialize", "params": hello})
        assert peer.result(1)["serverInfo"]["name"] == "other"
        peer.send({"method": "notifications/initialized"})
    for n, peer in enumerate(peers):
        peer.send({"id": 2, "method": "tools/call", "params": {"name": "add", "arguments": {"a": n, "b": 1}}})
        assert peer.result(2)["structuredContent"] == {"result": n + 1}
    running.let_go()
    assert running.ended()[0] == 0


def failing(folder: Path, source: str = TOOLS, name: str = "tools.py", **more: str) -> str:
    """What a file says that cannot run."""
    command = [sys.executable, str(written(folder, source, name))]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, env=environment(**more))
    assert ended.returncode != 0 and "not reached" not in ended.stdout
    return ended.stderr


def test_without_the_program_the_remedy_is_said(tmp_path: Path) -> None:
    missing = failing(tmp_path, PATH="/nowhere")
    assert "the program `toolbus` is not found" in missing and "TOOLBUS_BIN=/path/to/toolbus" in missing
    assert "TOOLBUS_BIN is '/no/such'" in failing(tmp_path, TOOLBUS_BIN="/no/such")
    unfit = written(tmp_path, "", "unfit")
    unfit.chmod(0o755)
    assert f"{unfit} cannot be started" in failing(tmp_path, TOOLBUS_BIN=str(unfit))
    shadow = failing(tmp_path, name="selectors.py", TOOLBUS_BIN="/bin/true")
    assert "selectors.py was imported in the place of Python's own 'selectors': import toolbus before" in shadow
    (tmp_path / "selectors.py").unlink()
    notebook = "import asyncio\nfrom toolbus import Worker\nasync def main(): Worker().run()\nasyncio.run(main())"
    assert "an event loop runs here already" in failing(tmp_path, notebook, TOOLBUS_BIN="/bin/true")


def test_a_long_path_for_temporary_files_does_not_matter(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setenv("TMPDIR", str(long))
    running = run(TOOLS)
    assert running.socket.is_relative_to("/tmp/") and not running.socket.is_relative_to(long)
    assert connected(running.socket).text("add", {"a": 1, "b": 2}) == "3"


def test_the_measurement_runs() -> None:
    command = [sys.executable, str(ROOT / "python/toolbus/bench.py"), "--calls", "200"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, env=environment(), check=True)
    assert ended.stdout.count("calls/s, 64 in flight") == 4
