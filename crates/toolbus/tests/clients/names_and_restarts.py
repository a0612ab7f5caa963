"""Two servers with the same names; servers that are killed while clients are connected; what children may see."""

import os
import signal
import urllib.parse
from pathlib import Path

import anyio
from _support import (
    MODES,
    Checks,
    Gateway,
    eventually,
    everything_server,
    http_server,
    is_running,
    python_http,
    python_server,
    run,
)
from mcp import Client, MCPError


async def who(client: Client, tool: str = "who") -> tuple[str, int]:
    """The name and the process of the server that answers."""
    seen = (await client.call_tool(tool)).structured_content
    return seen["name"], int(seen["pid"])


async def same_names(checks: Checks, gateway: Gateway, mode: str) -> None:
    async with Client(gateway.url, mode=mode) as client:
        names = [tool.name for tool in (await client.list_tools()).tools]
        checks.that(f"{mode}: both tools have a name", {"who", "right_who"} <= set(names), names)
        checks.equal(f"{mode}: no name is there twice", len(names), len(set(names)))
        checks.equal(f"{mode}: the first server keeps the name", (await who(client))[0], "left")
        checks.equal(f"{mode}: the other has its own in front", (await who(client, "right_who"))[0], "right")
        checks.equal(f"{mode}: the list is the same again", [tool.name for tool in (await client.list_tools(cache_mode="refresh")).tools], names)
    async with Client(gateway.server_url("right"), mode=mode) as client:
        names = [tool.name for tool in (await client.list_tools()).tools]
        checks.that(f"{mode}: alone, the other has its own names", "who" in names and "right_who" not in names, names)
        checks.equal(f"{mode}: and answers to them", (await who(client))[0], "right")
    asked = [(r["asked"], r["server"], r["name"]) for r in gateway.records()[-3:]]
    expected = [("who", "left", "who"), ("right_who", "right", "who"), ("who", "right", "who")]
    checks.equal(f"{mode}: the audit says which server it was", asked, expected)


async def killed_between_calls(checks: Checks, gateway: Gateway, mode: str) -> None:
    """The session of the client goes on, and so does the other server."""
    async with Client(gateway.url, mode=mode) as client:
        (_, first), (_, other) = await who(client), await who(client, "right_who")
        os.kill(first, signal.SIGKILL)
        eventually(lambda: not is_running(first), within=5)
        name, second = await who(client)
        checks.that(f"{mode}: a server killed between calls is back at the next call", (name, second != first) == ("left", True), (name, first, second))
        checks.equal(f"{mode}: the other server is not touched", await who(client, "right_who"), ("right", other))


async def killed_in_mid_call(checks: Checks, gateway: Gateway, mode: str) -> None:
    """The caller learns at once that nobody knows whether the tool has run, and why."""
    async with Client(gateway.url, mode=mode) as client:
        _, first = await who(client)
        errors = []

        async def wait() -> None:
            try:
                await client.call_tool("wait", {"seconds": 60}, read_timeout_seconds=20)
            except MCPError as error:
                errors.append(error)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await anyio.sleep(0.5)
            os.kill(first, signal.SIGKILL)
        error = errors[0] if errors else None
        checks.that(f"{mode}: a call whose server is killed is error -31003", error is not None and error.code == -31003, error)
        cause = error.data["cause"] if error is not None and error.data else {}
        checks.equal(f"{mode}: its cause is how the process ended", cause.get("status"), "killed by signal 9")
        checks.that(f"{mode}: and its command", "_server.py fastmcp stdio left" in str(cause.get("command")), cause)
        checks.equal(f"{mode}: it must not be sent again blindly", error is not None and error.data["retryable"], False)
        name, second = await who(client)
        checks.that(f"{mode}: the next call works", (name, second != first) == ("left", True), (name, first, second))


async def an_http_server_that_goes_and_comes(checks: Checks, folder: Path, mode: str) -> None:
    first = python_http("web", "mcp", folder)
    port = urllib.parse.urlsplit(first.url).port
    try:
        with Gateway(checks, folder / f"web-{mode}", http_server("web", first.url) + python_server("right", "mcp")) as gateway:
            async with Client(gateway.url, mode=mode) as client:
                checks.equal(f"{mode}: a server on HTTP", (await who(client))[1], first.child.pid)
                first.kill()
                try:
                    seen = await who(client)
                except MCPError as error:
                    seen = (error.code, bool(error.data and error.data["retryable"]))
                checks.equal(f"{mode}: while it is away, its tools are known but not available", seen, (-31001, True))
                checks.equal(f"{mode}: the others are there", (await who(client, "right_who"))[0], "right")
                with python_http("web", "mcp", folder, port) as second:
                    # The gateway does not try at once after a failure, but soon.
                    seen = None
                    with anyio.move_on_after(5):
                        while seen is None:
                            try:
                                seen = (await who(client))[1]
                            except MCPError:
                                await anyio.sleep(0.1)
                    checks.equal(f"{mode}: when it is back, calls reach it again", seen, second.child.pid)
                # And once more, without a call in between that could tell the gateway.
                with python_http("web", "mcp", folder, port) as third:
                    checks.equal(f"{mode}: a new process in its place serves the next call", (await who(client))[1], third.child.pid)
    finally:
        first.kill()


async def environment(checks: Checks, folder: Path) -> None:
    """A child sees what its section says, and nothing of the gateway's."""
    section = everything_server("everything", 'env = { GIVEN = "in the file", TAKEN = "env:OF_THE_GATEWAY" }')
    env = {"OF_THE_GATEWAY": "secret-1", "ANOTHER_TOKEN": "secret-2"}
    with Gateway(checks, folder / "environment", section, env) as gateway:
        async with Client(gateway.url) as client:
            text = (await client.call_tool("get-env")).content[0].text
    checks.that("a child gets the variables of its section", '"GIVEN": "in the file"' in text and '"TAKEN": "secret-1"' in text, text)
    checks.that("and no others of the gateway", "OF_THE_GATEWAY" not in text and "secret-2" not in text, text)
    checks.that("but PATH and HOME", '"PATH"' in text and '"HOME"' in text, text)


async def main(checks: Checks, folder: Path) -> None:
    servers = python_server("left", "fastmcp") + python_server("right", "mcp")
    with Gateway(checks, folder / "http", servers) as gateway:
        for mode in MODES:
            for part in (same_names, killed_between_calls, killed_in_mid_call):
                with checks.group(f"{mode}, {part.__name__}"):
                    await part(checks, gateway, mode)
    for mode in ("legacy", "2026-07-28"):
        with checks.group(f"{mode}, a server on HTTP"):
            await an_http_server_that_goes_and_comes(checks, folder, mode)
    with checks.group("environment"):
        await environment(checks, folder)


if __name__ == "__main__":
    run(main, within=180)
