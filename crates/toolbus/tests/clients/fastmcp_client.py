"""The client of FastMCP in all its modes, its client files, and its command line."""

import asyncio
import json
import os
import subprocess
from pathlib import Path

from _support import (
    MODES,
    PYTHON,
    TOOLBUS,
    Checks,
    Gateway,
    every_call_has_its_record,
    everything_server,
    http_server,
    python_http,
    python_server,
    run,
)
from fastmcp import Client
from fastmcp.client.transports import StdioTransport
from fastmcp.exceptions import ToolError
from mcp import MCPError


async def all_of_it(checks: Checks, client: Client, where: str, state: Path) -> None:
    names = {tool.name for tool in await client.list_tools()}
    expected = {"add", "weather", "plain_add", "web_add", "echo"}
    checks.that(f"{where}: the tools of all servers", expected <= names, names)

    for prefix in ("", "plain_", "web_"):
        result = await client.call_tool(prefix + "add", {"a": 2, "b": 40})
        checks.equal(f"{where}: {prefix}add", result.structured_content, {"result": 42})
        result = await client.call_tool(prefix + "weather", {"city": "Århus"})
        seen = (result.data.city, result.data.celsius, result.data.words)
        checks.equal(f"{where}: {prefix}weather, as an object", seen, ("Århus", -0.5, ["dry", "föhn"]))
    for prefix in ("", "web_"):
        result = await client.call_tool(prefix + "add", {"a": 2, "b": 40})
        checks.equal(f"{where}: {prefix}add, as the value that FastMCP marks", result.data, 42)

    heard, steps = state / f"heard-{where}".replace(" ", "-"), []

    async def hear(done: float, total: float | None, message: str | None) -> None:
        steps.append((done, total, message))
        heard.touch()

    arguments = {"steps": 2, "heard": str(heard)}
    result = await client.call_tool("count", arguments, progress_handler=hear)
    checks.equal(f"{where}: progress arrives while the tool runs", result.data, "counted to 2")
    checks.equal(f"{where}: all of it, in order", steps, [(1, 2, "step 1"), (2, 2, "step 2")])

    try:
        await client.call_tool("fail", {"reason": "of old age"})
        seen = None
    except ToolError as error:
        seen = str(error)
    checks.that(f"{where}: a failure of a tool is raised as one", seen is not None and "of old age" in seen, seen)
    try:
        seen = await client.call_tool("no_such_tool")
    except (MCPError, ToolError) as error:
        seen = error
    checks.equal(f"{where}: an unknown tool is error -32602", getattr(seen, "code", seen), -32602)

    prompt = await client.get_prompt("plain_greet", {"person": "Bo"})
    checks.equal(f"{where}: a prompt", prompt.messages[0].content.text, "Greet Bo from plain.")
    contents = await client.read_resource("fast://items/9")
    checks.equal(f"{where}: a resource", [content.text for content in contents], ["item 9 of fast"])
    echo = await client.call_tool("echo", {"message": "hi"})
    checks.equal(f"{where}: a tool of server-everything", echo.content[0].text, "Echo: hi")


async def command_line(checks: Checks, gateway: Gateway) -> None:
    """`fastmcp list` and `fastmcp call`, with a home of their own and nothing to look up on the network."""
    home = gateway.folder / "home"
    home.mkdir()
    environment = {**os.environ, "HOME": str(home), "FASTMCP_CHECK_FOR_UPDATES": "off", "NO_COLOR": "1"}

    async def fastmcp(*words: str) -> subprocess.CompletedProcess:
        command = [str(Path(PYTHON).with_name("fastmcp")), *words]
        return await asyncio.to_thread(
            subprocess.run, command, env=environment, capture_output=True, text=True, timeout=60
        )

    listed = await fastmcp("list", gateway.url, "--json")
    with checks.group("fastmcp list"):
        names = {tool["name"] for tool in json.loads(listed.stdout)["tools"]}
        checks.that("fastmcp list: the tools of all servers", {"add", "plain_add", "echo"} <= names, names)
    called = await fastmcp("call", gateway.url, "weather", "city=Rome", "--json")
    with checks.group("fastmcp call"):
        seen = json.loads(called.stdout)["structured_content"]
        checks.equal("fastmcp call: the result", seen, {"city": "Rome", "celsius": -0.5, "words": ["dry", "föhn"]})
    failed = await fastmcp("call", gateway.url, "fail", "reason=nothing")
    told = failed.returncode != 0 and "it failed: nothing" in failed.stdout + failed.stderr
    checks.that("fastmcp call: a failure", told, (failed.returncode, failed.stdout, failed.stderr))


async def main(checks: Checks, folder: Path) -> None:
    with python_http("web", "fastmcp", folder) as web:
        servers = python_server("fast", "fastmcp") + python_server("plain", "mcp")
        servers += http_server("web", web.url) + everything_server("everything")
        with Gateway(checks, folder / "http", servers) as gateway:
            for mode in MODES:
                with checks.group(f"http {mode}"):
                    async with Client(gateway.url, mode=mode) as client:
                        await all_of_it(checks, client, f"http {mode}", gateway.folder)
            with checks.group("client file"):
                # The line that `toolbus up` logs for clients.
                file = {"mcpServers": {"toolbus": {"type": "http", "url": gateway.url}}}
                async with Client(file) as client:
                    await all_of_it(checks, client, "client file", gateway.folder)
            await command_line(checks, gateway)

        config = folder / "toolbus.toml"
        config.write_text(servers)
        # One mode for its transport; others come through this door in `pairs.py`.
        for mode in ("auto",):
            with checks.group(f"stdio {mode}"):
                door = StdioTransport(
                    TOOLBUS,
                    ["stdio", str(config)],
                    env={**os.environ, "XDG_STATE_HOME": str(folder)},
                    keep_alive=False,
                    log_file=folder / "stdio.log",
                )
                async with Client(door, mode=mode) as client:
                    await all_of_it(checks, client, f"stdio {mode}", folder)
        every_call_has_its_record(checks, folder)


if __name__ == "__main__":
    run(main, within=180)
