"""The Python client of the package `mcp`, in all its modes, through both doors, with four kinds of servers behind."""

import base64
import contextlib
import os
import warnings
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import TextIO

import anyio
from _support import (
    HERE,
    MODES,
    PYTHON,
    Checks,
    Gateway,
    descendants,
    eventually,
    every_call_has_its_record,
    everything_server,
    http_server,
    is_running,
    python_http,
    python_server,
    records,
    run,
    stdio_door,
)
from mcp import Client, MCPDeprecationWarning, MCPError, StdioServerParameters, stdio_client
from mcp.types import LoggingMessageNotificationParams

# The Python servers in the order of the configuration, and what stands before their names: all have the same ones, and
# the first server keeps them.
PREFIXES = {"fast": "", "plain": "plain_", "web": "web_"}

TOOLS = ["add", "weather", "count", "log", "fail", "wait", "measure", "long", "who"]

# Calls whose results must arrive as the server gives them, the failures of tools included.
SAMPLES = [
    ("add", {"a": 2, "b": 40}),
    ("add", {"a": 9007199254740993, "b": 1}),
    ("add", {"a": "two"}),
    ("weather", {"city": 'Zürich \u2028 "quoted" \\ 😀'}),
    ("measure", {"text": "x\ny"}),
    ("fail", {"reason": "no 'luck'"}),
]


async def definitions(client: Client, prefix: str) -> dict[str, object]:
    """The tools of one server, by its own names."""
    found = {}
    for tool in (await client.list_tools()).tools:
        definition = tool.model_dump(by_alias=True, exclude_none=True, mode="json")
        name = definition.pop("name")
        if name.startswith(prefix) and name.removeprefix(prefix) in TOOLS:
            found[name.removeprefix(prefix)] = definition
    return found


async def results(client: Client, prefix: str) -> list[object]:
    """What the samples give, without what revisions of MCP add."""
    found = []
    for tool, arguments in SAMPLES:
        result = await client.call_tool(prefix + tool, arguments)
        plain = result.model_dump(by_alias=True, exclude_none=True, mode="json", exclude={"result_type"})
        plain.get("_meta", {}).pop("io.modelcontextprotocol/serverInfo", None)
        found.append((tool, arguments, plain.pop("_meta", {}), plain))
    return found


async def directly(mode: str, log: TextIO) -> dict[str, tuple]:
    """Both, asked of the servers themselves."""
    found = {}
    for name, package in [("fast", "fastmcp"), ("plain", "mcp")]:
        command = StdioServerParameters(command=PYTHON, args=[str(HERE / "_server.py"), package, "stdio", name])
        async with Client(stdio_client(command, errlog=log), mode=mode) as client:
            found[name] = (await definitions(client, ""), await results(client, ""))
    return {**found, "web": found["plain"]}


async def error_of(work: Awaitable[object]) -> tuple[int, object] | None:
    """The code and the data of the error in which this ends."""
    try:
        await work
    except MCPError as error:
        return error.code, error.data
    return None


class Logs:
    """Keeps the log messages that a client gets."""

    def __init__(self) -> None:
        self.lines: list[tuple] = []

    async def __call__(self, message: LoggingMessageNotificationParams) -> None:
        # FastMCP wraps the words of its servers.
        words = message.data["msg"] if isinstance(message.data, dict) else message.data
        self.lines.append((message.level, words))


class Heard:
    """Hears of progress, and tells the tool that it did by writing a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.steps: list[tuple] = []

    async def __call__(self, done: float, total: float | None, message: str | None) -> None:
        self.steps.append((done, total, message))
        self.path.touch()


async def a_python_server(
    checks: Checks, client: Client, here: str, name: str, direct: tuple, heard: Heard, logs: Logs
) -> None:
    prefix, (tools, outcomes) = PREFIXES[name], direct
    checks.equal(f"{here}: the tools are defined as by the server", await definitions(client, prefix), tools)
    for seen, expected in zip(await results(client, prefix), outcomes, strict=True):
        checks.equal(f"{here}: {seen[0]} {seen[1]} gives what the server gives", seen, expected)

    arguments = {"steps": 3, "heard": str(heard.path)}
    result = await client.call_tool(prefix + "count", arguments, progress_callback=heard)
    checks.equal(f"{here}: progress arrives while the tool runs", result.content[0].text, "counted to 3")
    steps = [(1, 3, "step 1"), (2, 3, "step 2"), (3, 3, "step 3")]
    checks.equal(f"{here}: all of it arrives, in order", heard.steps, steps)

    logs.lines.clear()
    await client.call_tool(prefix + "log", {"words": here})
    with anyio.move_on_after(5):
        while not logs.lines:
            await anyio.sleep(0.01)
    checks.equal(f"{here}: log messages of the level asked for arrive", logs.lines, [("warning", f"warning {here}")])

    sums = {}

    async def add(n: int) -> None:
        sums[n] = (await client.call_tool(prefix + "add", {"a": n, "b": 1000})).structured_content

    async with anyio.create_task_group() as tasks:
        for n in range(30):
            tasks.start_soon(add, n)
    own = {n: {"result": n + 1000} for n in range(30)}
    checks.that(f"{here}: 30 calls at once each get their own answer", sums == own, sums)

    prompt = await client.get_prompt(prefix + "greet", {"person": "Ann"})
    checks.equal(f"{here}: a prompt", prompt.messages[0].content.text, f"Greet Ann from {name}.")
    for path, expected in [("status", f"{name} is well"), ("items/7", f"item 7 of {name}")]:
        contents = (await client.read_resource(f"{name}://{path}")).contents
        checks.equal(f"{here}: resource {path}", [content.text for content in contents], [expected])
    blob = (await client.read_resource(f"{name}://bytes")).contents[0].blob
    checks.equal(f"{here}: a resource of bytes", base64.b64decode(blob), bytes(range(256)))


async def server_everything(checks: Checks, client: Client, here: str, heard: Heard) -> None:
    """A server in another language, which knows only the older era."""
    echo = await client.call_tool("echo", {"message": "hello"})
    checks.equal(f"{here}: echo", echo.content[0].text, "Echo: hello")
    weather = await client.call_tool("get-structured-content", {"location": "Chicago"})
    expected = {"temperature": 36, "conditions": "Light rain / drizzle", "humidity": 82}
    checks.equal(f"{here}: structured content", weather.structured_content, expected)
    image = await client.call_tool("get-tiny-image")
    checks.equal(f"{here}: an image", [block.type for block in image.content], ["text", "image", "text"])
    png = base64.b64decode(image.content[1].data)
    checks.that(f"{here}: its bytes are a PNG", png.startswith(b"\x89PNG") and b"IEND" in png[-12:], png[:16])
    arguments = {"duration": 0.3, "steps": 3}
    long = await client.call_tool("trigger-long-running-operation", arguments, progress_callback=heard)
    checks.equal(f"{here}: progress", heard.steps, [(1, 3, None), (2, 3, None), (3, 3, None)])
    checks.that(f"{here}: and the result after it", "Steps: 3" in long.content[0].text, long)
    wrong = await error_of(client.call_tool("get-sum", {"a": "one", "b": 2}))
    checks.that(f"{here}: wrong arguments are no error of the protocol", wrong is None, wrong)
    text = (await client.read_resource("demo://resource/dynamic/text/3")).contents[0].text
    checks.that(f"{here}: a resource of a template", text.startswith("Resource 3: "), text)
    prompt = await client.get_prompt("args-prompt", {"city": "Oslo", "state": "Oslo"})
    checks.equal(f"{here}: a prompt", prompt.messages[0].content.text, "What's weather in Oslo, Oslo?")


async def what_is_unknown(checks: Checks, client: Client, where: str, mode: str) -> None:
    seen = await error_of(client.call_tool("no_such_tool", {}))
    checks.that(f"{where}: an unknown tool is error -32602", seen is not None and seen[0] == -32602, seen)
    seen = await error_of(client.get_prompt("no_such_prompt", {}))
    checks.that(f"{where}: an unknown prompt is error -32602", seen is not None and seen[0] == -32602, seen)
    # Revisions up to 2025-11-25 have a code of their own for it.
    code = -32002 if mode == "legacy" else -32602
    seen = await error_of(client.read_resource("nowhere://at/all"))
    named = seen is not None and isinstance(seen[1], dict) and seen[1].get("uri") == "nowhere://at/all"
    checks.that(f"{where}: an unknown resource is error {code} and named", named and seen[0] == code, seen)


async def a_call_that_is_given_up(checks: Checks, client: Client, where: str, folder: Path) -> None:
    """The caller stops waiting: the call must end, be recorded as cancelled, and leave the connection whole."""

    def outcomes() -> list[tuple]:
        waits = [record for record in records(folder) if record["name"] == "wait"]
        return sorted((record["server"], record["outcome"]) for record in waits)

    before = outcomes()
    for prefix in PREFIXES.values():
        with contextlib.suppress(MCPError, TimeoutError):
            await client.call_tool(prefix + "wait", {"seconds": 60}, read_timeout_seconds=0.3)
        result = await client.call_tool(prefix + "add", {"a": 1, "b": 1})
        checks.equal(f"{where}: after {prefix}wait was given up, {prefix}add", result.structured_content, {"result": 2})
    expected = sorted(before + [(name, "cancelled") for name in PREFIXES])
    await anyio.to_thread.run_sync(lambda: eventually(lambda: outcomes() == expected, within=5))
    checks.equal(f"{where}: the calls given up are recorded as cancelled", outcomes(), expected)


async def two_callers(checks: Checks, gateway: Gateway, mode: str) -> None:
    """Both number their requests alike; each must hear of its own call only."""
    heard = [Heard(gateway.folder / f"heard-two-{mode}-{caller}") for caller in (0, 1)]

    async def count(caller: int) -> None:
        async with Client(gateway.url, mode=mode) as client:
            arguments = {"steps": 2 + caller, "heard": str(heard[caller].path)}
            await client.call_tool("count", arguments, progress_callback=heard[caller])

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(count, 0)
        tasks.start_soon(count, 1)
    totals = [[total for _, total, _ in each.steps] for each in heard]
    checks.equal(f"http {mode}: two callers at once hear each of their own call", totals, [[2, 2], [3, 3, 3]])


async def all_of_it(
    checks: Checks, client: Client, where: str, mode: str, direct: dict[str, tuple], state: Path, logs: Logs
) -> None:
    """Everything that must hold, whatever the door and the mode."""
    if mode == "legacy":
        # Newer clients ask for log messages with every request.
        await client.set_logging_level("warning")
    checks.equal(f"{where}: the revision", client.protocol_version, MODES[mode])
    names = [tool.name for tool in (await client.list_tools()).tools]
    expected = [prefix + tool for prefix in PREFIXES.values() for tool in TOOLS]
    checks.equal(f"{where}: the tools, server by server", names[: len(expected)], expected)
    checks.that(f"{where}: and those of server-everything", {"echo", "get-sum"} <= set(names), names)
    prompts = [prompt.name for prompt in (await client.list_prompts()).prompts]
    checks.equal(f"{where}: the prompts", prompts[:3], [prefix + "greet" for prefix in PREFIXES.values()])
    uris = {str(resource.uri) for resource in (await client.list_resources()).resources}
    own = {f"{name}://{path}" for name in PREFIXES for path in ("status", "bytes")}
    checks.that(f"{where}: the resources", own < uris, uris)
    templates = {each.uri_template for each in (await client.list_resource_templates()).resource_templates}
    own = {f"{name}://items/{{number}}" for name in PREFIXES}
    checks.that(f"{where}: the resource templates", own < templates, templates)

    name_of_file = where.replace(" ", "-")
    for name in PREFIXES:
        here, heard = f"{where}, {name}", Heard(state / f"heard-{name_of_file}-{name}")
        with checks.group(here):
            await a_python_server(checks, client, here, name, direct[name], heard, logs)
    with checks.group(f"{where}, everything"):
        await server_everything(checks, client, f"{where}, everything", Heard(state / "heard-everything"))
    with checks.group(where):
        await what_is_unknown(checks, client, where, mode)
        await a_call_that_is_given_up(checks, client, where, state)


async def one_server_alone(checks: Checks, gateway: Gateway, mode: str) -> None:
    """`/servers/NAME/mcp` has one server, under its own names."""
    for name in PREFIXES:
        async with Client(gateway.server_url(name), mode=mode) as client:
            names = [tool.name for tool in (await client.list_tools()).tools]
            checks.equal(f"http {mode}, {name} alone: its own names", names, TOOLS)
            who = (await client.call_tool("who")).structured_content["name"]
            checks.equal(f"http {mode}, {name} alone: it answers itself", who, name)
            seen = await error_of(client.call_tool("echo", {"message": "x"}))
            checks.that(f"http {mode}, {name} alone: another's tool is unknown", seen and seen[0] == -32602, seen)


@contextlib.asynccontextmanager
async def through_stdio(checks: Checks, state: Path, servers: str, mode: str, logs: Logs) -> AsyncIterator[Client]:
    before = set(descendants(os.getpid()))
    async with Client(stdio_door(state, servers), mode=mode, logging_callback=logs, log_level="warning") as client:
        below = set(descendants(os.getpid())) - before
        yield client
    gone = bool(below) and eventually(lambda: not any(map(is_running, below)), within=5)
    checks.that(f"stdio {mode}: toolbus ends with its client, and nothing is left of it", gone, below)
    every_call_has_its_record(checks, state)


async def main(checks: Checks, folder: Path) -> None:
    # Log messages are deprecated since 2026-07-28, and must still be carried.
    warnings.simplefilter("ignore", MCPDeprecationWarning)
    with (folder / "direct.log").open("w") as log:
        modern, legacy = await directly("2026-07-28", log), await directly("legacy", log)
    direct = {mode: legacy if mode == "legacy" else modern for mode in MODES}
    with python_http("web", "mcp", folder) as web:
        servers = python_server("fast", "fastmcp") + python_server("plain", "mcp")
        servers += http_server("web", web.url) + everything_server("everything")
        with Gateway(checks, folder / "http", servers) as gateway:
            for mode in MODES:
                where, logs = f"http {mode}", Logs()
                with checks.group(where):
                    async with Client(gateway.url, mode=mode, logging_callback=logs, log_level="warning") as client:
                        await all_of_it(checks, client, where, mode, direct[mode], gateway.folder, logs)
                    await two_callers(checks, gateway, mode)
                    await one_server_alone(checks, gateway, mode)
        # The others are played by `pairs.py`, through this door too.
        for mode in ("auto",):
            where, logs, state = f"stdio {mode}", Logs(), folder / f"stdio-{mode}"
            with checks.group(where):
                async with through_stdio(checks, state, servers, mode, logs) as client:
                    await all_of_it(checks, client, where, mode, direct[mode], state, logs)


if __name__ == "__main__":
    run(main, within=180)
