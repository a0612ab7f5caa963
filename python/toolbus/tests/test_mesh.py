"""Files that run themselves with the real worker on a real NATS server, called as a gateway calls them."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import nats as nats_py
import pytest
from _peer import CAPABILITIES, FORMS, PATIENCE, VERSION, environment, written
from nats.aio.client import Client
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


Frame = tuple[str, Any]


class Caller:
    """Calls tools in the frames of the mesh."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def begin(self, tool: str, arguments: dict[str, Any], **more: Any) -> "asyncio.Queue[Frame]":
        """Begins a call, once there is a worker; answers with where its frames come."""
        frames: asyncio.Queue[Frame] = asyncio.Queue()

        async def hear(message: Any) -> None:
            kind = (message.headers or {}).get("Toolbus-Frame", "nobody")
            await frames.put((kind, json.loads(message.data) if message.data else None))

        inbox = self._client.new_inbox()
        await self._client.subscribe(inbox, cb=hear)
        call = str(uuid.uuid4())
        headers = {"Toolbus-Wire": "1", "Toolbus-Call": call, "Toolbus-Attempt": "1", "Toolbus-Start": "direct"}
        headers |= {"Toolbus-Start-Within-Ms": "5000", "Toolbus-Deadline-In-Ms": "30000", "Mcp-Method": "tools/call"}
        headers |= {"Mcp-Name": tool, "MCP-Protocol-Version": "2026-07-28"}
        meta = {VERSION: "2026-07-28", CAPABILITIES: FORMS, "progressToken": "t"}
        params = {"name": tool, "arguments": arguments, "_meta": meta} | more
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode()
        await self._client.publish(f"toolbus.v1.tool._.runs=2E{tool}.invoke", body, reply=inbox, headers=headers)
        return frames

    async def call(self, tool: str, arguments: dict[str, Any], **more: Any) -> Any:
        """The result of a call."""
        return await ended(await self.begin(tool, arguments, **more))


async def ended(frames: "asyncio.Queue[Frame]") -> Any:
    """The result that a call's frames end with."""
    while (frame := await frames.get())[0] in ("ack", "ka", "msg"):
        pass
    kind, body = frame
    assert kind == "end" and "result" in body, frame
    return body["result"]


def play(nats: str, what: Callable[[Caller], Awaitable[None]]) -> None:
    """Has a caller do something, once the tools are there."""

    async def run() -> None:
        client = await nats_py.connect(nats)
        caller = Caller(client)
        async with asyncio.timeout(2 * PATIENCE):
            while (await (await caller.begin("add", {"a": 0, "b": 0})).get())[0] == "nobody":
                await asyncio.sleep(0.1)
            await what(caller)
        await client.close()

    asyncio.run(run())


def test_calls(running: Running, nats: str) -> None:
    async def calls(caller: Caller) -> None:
        added = await asyncio.gather(*(caller.call("add", {"a": n, "b": 1}) for n in range(100)))
        assert [result["structuredContent"]["result"] for result in added] == list(range(1, 101))
        wrong = await caller.call("add", {"a": "x"})
        assert wrong["isError"] and "a: Input should be a valid integer" in wrong["content"][0]["text"]
        asks = await caller.call("sure", {})
        assert asks["resultType"] == "input_required"
        answers = {key: {"action": "accept", "content": {"value": True}} for key in asks["inputRequests"]}
        sure = await caller.call("sure", {}, requestState=asks["requestState"], inputResponses=answers)
        assert sure["content"][0]["text"] == "True"

    play(nats, calls)


def test_a_drain_loses_nothing(running: Running, nats: str) -> None:
    async def drain(caller: Caller) -> None:
        frames = await caller.begin("wait", {"seconds": 2})
        while (frame := await frames.get())[0] != "msg":
            assert frame[0] in ("ack", "ka"), frame
        assert frame[1]["params"]["progress"] == 1
        running.process.send_signal(signal.SIGTERM)
        assert (await ended(frames))["content"][0]["text"] == "waited"

    play(nats, drain)
    assert running.ended()[0] == 0


def test_a_worker_that_is_killed_ends_the_file(running: Running) -> None:
    os.kill(running.worker, signal.SIGKILL)
    status, said = running.ended()
    assert status == 1 and "was killed by signal 9; nothing is served any more" in said


def test_a_file_that_is_killed_ends_the_worker(running: Running, nats: str) -> None:
    async def add(caller: Caller) -> None:
        assert (await caller.call("add", {"a": 1, "b": 2}))["structuredContent"] == {"result": 3}

    play(nats, add)
    running.process.kill()
    running.process.wait(PATIENCE)
    eventually(lambda: not is_running(running.worker), "the worker outlived its file")
