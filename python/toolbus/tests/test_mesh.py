"""Files that run themselves with the real worker, on a real NATS server, called by a real client through a gateway."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from _peer import PATIENCE, environment, written
from mcp import Client, StdioServerParameters, stdio_client
from mcp.types import ElicitResult
from test_run import eventually, is_running

TOOLBUS = os.environ.get("TOOLBUS", "")
NATS = Path(sys.executable).with_name("nats-server")

TOOLS = '''
    import asyncio
    from toolbus import Context, Worker

    worker = Worker("runs")

    @worker.tool(read_only=True)
    async def add(a: int, b: int) -> int:
        return a + b

    @worker.tool()
    async def wait(ctx: Context, seconds: float) -> str:
        ctx.report_progress(1)
        await asyncio.sleep(seconds)
        return "waited"

    @worker.tool()
    async def sure(ctx: Context) -> str:
        return str((await ctx.elicit("Sure?", bool)).data)

    worker.run()
'''


def has_worker() -> bool:
    """Whether there is a program that can be a worker."""
    return bool(TOOLBUS) and subprocess.run([TOOLBUS, "worker", "--help"], capture_output=True).returncode == 0


pytestmark = [
    pytest.mark.skipif(not has_worker(), reason="skipped: TOOLBUS is no program with `toolbus worker`"),
    pytest.mark.skipif(not NATS.exists(), reason="skipped: no nats-server"),
]


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[str]:
    """The URL of a NATS server of its own."""
    command = [NATS, "-a", "127.0.0.1", "-p", "-1", "-js", "-sd", tmp_path / "store", "--ports_file_dir", tmp_path]
    with (tmp_path / "nats.log").open("wb") as log:
        server = subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    ports = tmp_path / f"nats-server_{server.pid}.ports"
    eventually(lambda: ports.exists() and ports.read_text().strip().endswith("}"), "nats-server does not listen")
    yield json.loads(ports.read_text())["nats"][0]
    server.kill()
    server.wait(PATIENCE)


class Running:
    """A file that runs, and the worker that it started."""

    def __init__(self, folder: Path, nats: str) -> None:
        command = [sys.executable, str(written(folder, TOOLS)), "--nats", nats]
        self.said = folder / "said"
        with self.said.open("ab") as said:
            own = environment(TOOLBUS_BIN=TOOLBUS, XDG_STATE_HOME=str(folder / "state"))
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=own)
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        self.worker = int(eventually(lambda: children.read_text().split(), "the worker did not start")[0])

    def ended(self) -> tuple[int, str]:
        """Waits for both."""
        status = self.process.wait(PATIENCE)
        eventually(lambda: not is_running(self.worker), "the worker did not end")
        return status, self.said.read_text()

    def end(self) -> None:
        """Ends both, however they are."""
        self.process.kill()
        self.process.wait(PATIENCE)
        eventually(lambda: not is_running(self.worker), "the worker outlived its file")


@pytest.fixture
def running(tmp_path: Path, nats: str) -> Iterator[Running]:
    """A file that runs."""
    started = Running(tmp_path, nats)
    yield started
    started.end()


def play(folder: Path, nats: str, what: Callable[[Client], Any], mode: str) -> None:
    """Has a client call through a gateway on stdio, once the tools are there."""
    (folder / "toolbus.toml").write_text(f"[mesh]\nurl = {json.dumps(nats)}\n")

    async def accepts(context: Any, params: Any) -> ElicitResult:
        return ElicitResult(action="accept", content={"value": True})

    async def run() -> None:
        own = {"XDG_STATE_HOME": str(folder / "gateway")}
        command = StdioServerParameters(command=TOOLBUS, args=["stdio", str(folder / "toolbus.toml")], env=own)
        with anyio.fail_after(2 * PATIENCE):
            async with Client(stdio_client(command), mode=mode, elicitation_callback=accepts) as client:
                while "add" not in [tool.name for tool in (await client.list_tools()).tools]:
                    await anyio.sleep(0.1)
                await what(client)

    anyio.run(run)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_calls_and_a_drain(running: Running, tmp_path: Path, nats: str, mode: str) -> None:
    async def calls(client: Client) -> None:
        added = await client.call_tool("add", {"a": 1, "b": 2})
        assert added.structured_content == {"result": 3}
        asked = await client.call_tool("sure", {})
        assert asked.content[0].text == "True", asked  # type: ignore[union-attr]
        begun = anyio.Event()

        async def hear(progress: float, total: float | None, message: str | None) -> None:
            begun.set()

        async def wait() -> None:
            waited = await client.call_tool("wait", {"seconds": 2}, progress_callback=hear)
            assert waited.content[0].text == "waited", waited  # type: ignore[union-attr]

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await begun.wait()
            running.process.send_signal(signal.SIGTERM)

    play(tmp_path, nats, calls, mode)
    assert running.ended()[0] == 0


def test_a_worker_that_is_killed_ends_the_file(running: Running) -> None:
    os.kill(running.worker, signal.SIGKILL)
    status, said = running.ended()
    assert status == 1 and "was killed by signal 9; nothing is served any more" in said


def test_a_file_that_is_killed_ends_the_worker(running: Running, tmp_path: Path, nats: str) -> None:
    async def call(client: Client) -> None:
        assert (await client.call_tool("add", {"a": 1, "b": 2})).structured_content == {"result": 3}

    play(tmp_path, nats, call, "auto")
    running.process.kill()
    running.process.wait(PATIENCE)
    eventually(lambda: not is_running(running.worker), "the worker outlived its file")
