"""The Python client of the package `mcp`, in all its modes, through two gateways and NATS, to FastMCP functions of two workers.

Times are told beside the checks; the bounds are wide, because other things run meanwhile.
"""

import json
import time
from collections.abc import Awaitable
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import anyio
import nats
from _mesh import Broker, Worker, peer
from _server import long_text
from _support import HERE, MODES, PYTHON, Checks, Gateway, eventually, first_cause, records, run
from mcp import Client, MCPError
from mcp.client.subscriptions import ToolsListChanged
from mcp.types import ElicitResult

LARGE = 20 * 1024 * 1024

# The functions, as a worker is told of them.
TOOLS = ["--", PYTHON, str(HERE / "_mesh_tools.py")]

# A worker whose last three signs of life are missing is gone: one comes every two seconds.
NOTICED = 3 * 2.0

# How long a worker of Python needs to be there, on a busy machine.
STARTS = 60.0


async def error_of(work: Awaitable[object]) -> MCPError | None:
    try:
        await work
    except Exception as error:
        cause = first_cause(error)
        if isinstance(cause, MCPError):
            return cause
        raise
    return None


async def soon(holds, within: float = STARTS) -> bool:
    """Waits for something that is asked of a server."""
    with anyio.move_on_after(within):
        while not await holds():
            await anyio.sleep(0.05)
        return True
    return False


async def names(client: Client) -> set[str]:
    return {tool.name for tool in (await client.list_tools(cache_mode="bypass")).tools}


async def answer(_, params) -> ElicitResult:
    return ElicitResult(action="accept", content={"name": "Ann", "age": 7})


class Heard:
    """Hears of progress, and tells the function by writing a file: it must be heard of while the function runs."""

    def __init__(self, path: Path) -> None:
        self.path, self.steps = path, []

    async def __call__(self, done: float, total: float | None, message: str | None) -> None:
        self.steps.append((done, total, message))
        self.path.touch()


async def one_client(checks: Checks, client: Client, where: str, folder: Path) -> None:
    result = await client.call_tool("add", {"a": 2, "b": 40})
    checks.equal(f"{where}: a result", result.structured_content, {"result": 42})
    result = await client.call_tool("add", {"a": "two"})
    checks.that(f"{where}: wrong arguments are a result of the tool", result.is_error, result)
    mark = where.replace(" ", "-")
    heard = Heard(folder / f"heard-{mark}")
    await client.call_tool("count", {"steps": 3, "heard": str(heard.path)}, progress_callback=heard)
    expected = [(step, 3, f"step {step}") for step in (1, 2, 3)]
    checks.equal(f"{where}: progress, while the function runs", heard.steps, expected)
    result = await client.call_tool("ask_form", {})
    checks.equal(f"{where}: a question", result.content[0].text, 'accept: {"name":"Ann","age":7}')
    given_up = folder / f"given-up-{mark}"
    await error_of(give_up(client, given_up))
    reached = await anyio.to_thread.run_sync(lambda: eventually(given_up.exists, within=10))
    checks.that(f"{where}: a call that is given up ends in the function", reached)
    begun = time.monotonic()
    result = await client.call_tool("long", {"size": LARGE // 2, "seed": 3})
    whole = long_text(LARGE // 2, 3)
    # Twice as much on the way: FastMCP sends it as text and as structured content.
    same = result.content[0].text == whole and result.structured_content["result"] == whole
    checks.that(f"{where}: a result of 20 MiB", same, result)
    print(f"      a result of 20 MiB took {time.monotonic() - begun:.2f} s")
    prompt = await client.get_prompt("greet", {"person": "Ann"})
    checks.equal(f"{where}: a prompt", prompt.messages[0].content.text, "Greet Ann from tools.")
    contents = (await client.read_resource("tools://items/7")).contents
    checks.equal(f"{where}: a resource", contents[0].text, "item 7 of tools")
    unknown = await error_of(client.call_tool("no_such_tool", {}))
    checks.equal(f"{where}: an unknown tool is error -32602", unknown and unknown.code, -32602)


async def give_up(client: Client, mark: Path) -> None:
    """Leaves a call once its progress shows that the function runs."""
    begun = anyio.Event()

    async def hear(*_: object) -> None:
        begun.set()

    async with anyio.create_task_group() as tasks:
        arguments = {"mark": str(mark), "seconds": 60}
        tasks.start_soon(lambda: client.call_tool("patience", arguments, progress_callback=hear))
        with anyio.fail_after(20):
            await begun.wait()
        tasks.cancel_scope.cancel()


async def who(client: Client) -> int:
    return int((await client.call_tool("who", {})).structured_content["pid"])


async def two_workers(checks: Checks, client: Client, workers: list[Worker]) -> None:
    """Calls go to both of them."""
    seen = set()

    async def both() -> bool:
        seen.add(await who(client))
        return len(seen) >= 2

    checks.that("both workers answer", await soon(both), seen)
    whose = {pid for worker in workers for pid in worker.below()}
    checks.that("and nobody else does", seen <= whose, (seen, whose))


async def kill(checks: Checks, client: Client, others: Client, workers: list[Worker]) -> Worker:
    """Kills the worker that is at a call: the call ends and says what is known, and others are served meanwhile."""
    seen, begun = {}, anyio.Event()

    async def hear(_done: float, _total: float | None, message: str | None) -> None:
        seen["pid"] = int(message or 0)
        begun.set()

    async def wait() -> None:
        seen["error"] = await error_of(client.call_tool("hold", {"seconds": 60}, progress_callback=hear))
        seen["at"] = time.monotonic()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        with anyio.fail_after(20):
            await begun.wait()
        victim = next(worker for worker in workers if seen["pid"] in worker.below())
        # The first call of a client lists the tools before.
        await others.call_tool("add", {"a": 1, "b": 1})
        killed, took = victim.kill(), []
        for _ in range(20):
            start = time.monotonic()
            await others.call_tool("add", {"a": 1, "b": 1})
            took.append(time.monotonic() - start)
        print(f"      first call after the kill: {took[0] * 1000:.1f} ms; the longest of 20: {max(took) * 1000:.1f} ms")
        # Whoever waited for signs of life of the dead one would take six seconds.
        checks.that("after a kill another worker answers at once", max(took) < 3.0, took)
    late = seen["at"] - killed
    print(f"      the caller of the killed worker learned of it after {late:.2f} s")
    checks.that("its caller learns of it within three signs of life", late < NOTICED + 2.0, late)
    error = seen["error"]
    checks.equal("and that the outcome is unknown", error and error.code, -31003)
    data = (error and error.data) or {}
    checks.that("which names the call", len(str(data.get("callId", ""))) == 36, data)
    return victim


async def nobody_left(checks: Checks, client: Client) -> None:
    begun = time.monotonic()
    error = await error_of(client.call_tool("add", {"a": 1, "b": 1}))
    took = time.monotonic() - begun
    print(f"      with nobody left: {took * 1000:.0f} ms, {error}")
    checks.equal("with nobody left the error says that nothing ran", error and error.code, -31001)
    checks.that("and why", error is not None and "serves" in str(error), error)
    checks.that("at once", took < 1.0, took)


async def come_and_go(checks: Checks, gateway: Gateway, broker: Broker, folder: Path) -> None:
    """Who listens is told of tools that come and go."""
    changes, times = [], []
    async with Client(gateway.url, mode="2026-07-28") as client, AsyncExitStack() as stack:
        stream = await stack.enter_async_context(client.listen(tools_list_changed=True))
        tasks = await stack.enter_async_context(anyio.create_task_group())

        async def note() -> None:
            async for event in stream:
                if isinstance(event, ToolsListChanged):
                    changes.append(time.monotonic())

        async def lists(tool: str, there: bool) -> bool:
            seen = await soon(lambda: has(client, tool, there))
            times.append(time.monotonic())
            return seen

        tasks.start_soon(note)
        with Worker(broker, folder, 9, *peer("mcp", "late"), name="late") as worker:
            checks.that("a tool of a new worker is listed", await lists("ask_twice", True))
            checks.that("and who listens is told", await soon(lambda: told(changes, 1), 5), changes)
            before = len(changes)
            begun = time.monotonic()
            worker.drain()
            gone = await lists("ask_twice", False)
            checks.that("a tool whose last worker left is not listed after its grace", gone)
            print(f"      gone {times[-1] - begun:.2f} s after the drain began, the grace included")
            checks.that("and who listens is told", await soon(lambda: told(changes, before + 1), 5), changes)
        tasks.cancel_scope.cancel()


async def has(client: Client, tool: str, there: bool) -> bool:
    return (tool in await names(client)) is there


async def told(changes: list[float], count: int) -> bool:
    return len(changes) >= count


async def service_requests(checks: Checks, broker: Broker) -> None:
    """What any client of NATS can ask of a service (ADR-32), asked with nats-py."""
    connection = await nats.connect(broker.url)
    for verb, members in [
        ("PING", {"name", "id", "version", "type"}),
        ("INFO", {"name", "id", "version", "type", "description", "endpoints"}),
        ("STATS", {"name", "id", "version", "type", "started", "endpoints"}),
    ]:
        inbox, seen = connection.new_inbox(), []
        replies = await connection.subscribe(inbox)
        await connection.publish(f"$SRV.{verb}", b"", reply=inbox)
        with anyio.move_on_after(1.0):
            async for reply in replies.messages:
                seen.append(json.loads(reply.data))
        checks.equal(f"$SRV.{verb} is answered by both workers", len({one["id"] for one in seen}), 2)
        for one in seen:
            checks.that(f"$SRV.{verb} has what is due", members <= set(one), one)
            kind = f"io.nats.micro.v1.{verb.lower()}_response"
            checks.equal(f"$SRV.{verb} names its kind", one["type"], kind)
        if verb != "PING" and seen:
            endpoints = seen[0]["endpoints"]
            due = {"name", "subject"} | ({"num_requests", "num_errors"} if verb == "STATS" else set())
            checks.that(f"$SRV.{verb} has endpoints", endpoints and due <= set(endpoints[0]), endpoints[:1])
        if seen:
            alone = await connection.request(f"$SRV.{verb}.{seen[0]['name']}.{seen[0]['id']}", b"", timeout=5)
            checks.equal(f"$SRV.{verb} of one of them", json.loads(alone.data)["id"], seen[0]["id"])
    await connection.close()


async def main(checks: Checks, folder: Path) -> None:
    with Broker(folder / "nats") as broker, ExitStack() as stack:
        workers = [stack.enter_context(Worker(broker, folder, n, *TOOLS, name="tools")) for n in (1, 2)]
        section = broker.section('grace = "1s"')
        gateways = [stack.enter_context(Gateway(checks, folder / f"up-{n}", section)) for n in (1, 2)]
        for gateway in gateways:
            async with Client(gateway.url, mode="2026-07-28") as client:
                listed = await soon(lambda: has(client, "ask_form", True))
                checks.that("a gateway lists what a worker has", listed, workers[0].last_words())
        for number, gateway in enumerate(gateways):
            for mode in MODES:
                where = f"gateway {number} {mode}"
                with checks.group(where):
                    async with Client(gateway.url, mode=mode, elicitation_callback=answer) as client:
                        checks.equal(f"{where}: the revision", client.protocol_version, MODES[mode])
                        await one_client(checks, client, where, gateway.folder)
        with checks.group("requests of the service protocol"):
            await service_requests(checks, broker)
        with checks.group("tools that come and go"):
            await come_and_go(checks, gateways[1], broker, folder)
        one, other = [Client(gateway.url, mode="2026-07-28") for gateway in gateways]
        async with one, other:
            with checks.group("two workers, and a kill"):
                await two_workers(checks, one, workers)
                victim = await kill(checks, one, other, workers)
                workers.remove(victim)
            with checks.group("nobody is left"):
                workers[0].kill()
                await nobody_left(checks, one)
        outcomes = [record["outcome"] for gateway in gateways for record in records(gateway.folder)]
        checks.that("calls that were given up are recorded as cancelled", "cancelled" in outcomes, set(outcomes))


if __name__ == "__main__":
    run(main, within=300)
