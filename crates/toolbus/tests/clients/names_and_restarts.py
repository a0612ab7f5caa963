"""Two servers with the same names; servers that are killed while clients are connected, or still start when the first
client comes; what children may see of the gateway's environment.
"""

import json
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


async def who_soon(client: Client) -> int | None:
    """The process, once the pause is over that the gateway makes after failing to connect."""
    with anyio.move_on_after(5):
        while True:
            try:
                return (await who(client))[1]
            except MCPError:
                await anyio.sleep(0.1)
    return None


async def same_names(checks: Checks, gateway: Gateway, mode: str) -> None:
    async with Client(gateway.url, mode=mode) as client:
        names = [tool.name for tool in (await client.list_tools()).tools]
        checks.that(f"{mode}: both tools have a name", {"who", "right_who"} <= set(names), names)
        checks.equal(f"{mode}: no name is there twice", len(names), len(set(names)))
        checks.equal(f"{mode}: the first server keeps the name", (await who(client))[0], "left")
        checks.equal(f"{mode}: the other has its own in front", (await who(client, "right_who"))[0], "right")
        again = [tool.name for tool in (await client.list_tools(cache_mode="refresh")).tools]
        checks.equal(f"{mode}: the list is the same again", again, names)
    async with Client(gateway.server_url("right"), mode=mode) as client:
        names = [tool.name for tool in (await client.list_tools()).tools]
        checks.that(f"{mode}: alone, the other has its own names", "who" in names and "right_who" not in names, names)
        checks.equal(f"{mode}: and answers to them", (await who(client))[0], "right")

    def asked() -> list[tuple]:
        return [(record["asked"], record["server"], record["name"]) for record in gateway.records()[-3:]]

    expected = [("who", "left", "who"), ("right_who", "right", "who"), ("who", "right", "who")]
    # Records are written some milliseconds after the answer.
    eventually(lambda: asked() == expected, within=5)
    checks.equal(f"{mode}: the audit says which server it was", asked(), expected)


async def killed_between_calls(checks: Checks, gateway: Gateway, mode: str) -> None:
    """The session of the client goes on, and so does the other server."""
    async with Client(gateway.url, mode=mode) as client:
        (_, first), (_, other) = await who(client), await who(client, "right_who")
        # More than once, because what comes right after a death can go either way.
        for time in ("once", "twice", "three times", "four times"):
            os.kill(first, signal.SIGKILL)
            eventually(lambda: not is_running(first), within=5)
            try:
                name, second = await who(client)
            except MCPError as error:
                name, second = str(error), first
            back = name == "left" and second != first
            checks.that(f"{mode}: killed {time} between calls, it has the next one", back, (name, first, second))
            _, first = await who(client)
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
        codes = [error.code for error in errors]
        checks.equal(f"{mode}: a call whose server is killed is error -31003", codes, [-31003])
        data = errors[0].data if errors else {}
        checks.equal(f"{mode}: its cause is how the process ended", data["cause"]["status"], "killed by signal 9")
        checks.that(f"{mode}: and its command", "_server.py mcp stdio left" in data["cause"]["command"], data)
        checks.equal(f"{mode}: it is not one to send again", data["retryable"], False)
        name, second = await who(client)
        back = name == "left" and second != first
        checks.that(f"{mode}: the next call works", back, (name, first, second))


async def an_http_server_that_goes_and_comes(checks: Checks, folder: Path, mode: str) -> None:
    """Its clients stay connected meanwhile."""
    with python_http("web", "mcp", folder) as first:
        port = urllib.parse.urlsplit(first.url).port
        servers = http_server("web", first.url) + python_server("right", "mcp")
        with Gateway(checks, folder / f"web-{mode}", servers) as gateway:
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
                    seen = await who_soon(client)
                    checks.equal(f"{mode}: when it is back, calls reach it again", seen, second.child.pid)
                # And once more, without a call in between that could tell the gateway.
                with python_http("web", "mcp", folder, port) as third:
                    seen = (await who(client))[1]
                    checks.equal(f"{mode}: a new process in its place has the next call", seen, third.child.pid)


async def a_client_that_comes_early(checks: Checks, folder: Path, mode: str) -> None:
    """As soon as there is a URL it may be used; the first list waits for servers that are starting."""
    servers = python_server("left", "mcp") + python_server("right", "fastmcp")
    with Gateway(checks, folder / f"early-{mode}", servers, wait=False) as gateway:
        async with Client(gateway.url, mode=mode) as client:
            names = {tool.name for tool in (await client.list_tools()).tools}
            checks.that(f"{mode}: a client that comes early sees all tools", {"who", "right_who"} <= names, names)
            checks.equal(f"{mode}: and can call them", (await who(client, "right_who"))[0], "right")


async def environment(checks: Checks, folder: Path) -> None:
    """A child sees what its section says, and nothing of the gateway's."""
    section = everything_server("everything", 'env = { GIVEN = "in the file", TAKEN = "env:OF_THE_GATEWAY" }')
    env = {"OF_THE_GATEWAY": "secret-1", "ANOTHER_TOKEN": "secret-2"}
    with Gateway(checks, folder / "environment", section, env) as gateway:
        async with Client(gateway.url) as client:
            text = (await client.call_tool("get-env")).content[0].text
    seen = json.loads(text)
    given = (seen.get("GIVEN"), seen.get("TAKEN"))
    checks.equal("a child gets the variables of its section", given, ("in the file", "secret-1"))
    checks.that("and PATH and HOME", {"PATH", "HOME"} <= seen.keys(), seen)
    checks.that("and nothing else of the gateway's", "OF_THE_GATEWAY" not in seen and "secret-2" not in text, seen)


async def main(checks: Checks, folder: Path) -> None:
    servers = python_server("left", "mcp") + python_server("right", "fastmcp")
    with Gateway(checks, folder / "http", servers) as gateway:
        for mode in MODES:
            for part in (same_names, killed_between_calls, killed_in_mid_call):
                with checks.group(f"{mode}, {part.__name__}"):
                    await part(checks, gateway, mode)
    for mode in ("legacy", "2026-07-28"):
        with checks.group(f"{mode}, a server on HTTP"):
            await an_http_server_that_goes_and_comes(checks, folder, mode)
        with checks.group(f"{mode}, a client that comes early"):
            await a_client_that_comes_early(checks, folder, mode)
    with checks.group("environment"):
        await environment(checks, folder)


if __name__ == "__main__":
    run(main, within=180)
