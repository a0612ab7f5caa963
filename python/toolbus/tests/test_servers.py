"""Real clients, and servers of other packages: their own engines on our wire."""

import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from _peer import OLD_PYTHON, PATIENCE, written
from mcp import Client, StdioServerParameters, stdio_client
from mcp.types import ElicitResult

WORKER = '''
    from toolbus import Context, ToolError, Worker

    worker = Worker("worker")

    @worker.tool()
    async def add(a: int, b: int) -> int:
        """Adds."""
        return a + b

    @worker.tool()
    async def count(ctx: Context, n: int) -> str:
        """Counts."""
        for i in range(n):
            await ctx.report_progress(i + 1, n)
        return "counted"

    @worker.tool()
    async def sure(ctx: Context) -> str:
        """Asks."""
        answer = await ctx.elicit("Sure?", bool)
        return f"{answer.action} {answer.data}"

    @worker.tool()
    async def fail() -> str:
        """Fails."""
        raise ToolError("as it should")
'''

# The same with a prompt and a resource, in three packages that read almost alike.
OTHER = '''
    from pydantic import BaseModel
    {imports}

    mcp = {server}("other")

    class Sure(BaseModel):
        value: bool

    @mcp.tool()
    async def add(a: int, b: int) -> int:
        """Adds."""
        return a + b

    @mcp.tool()
    async def count(ctx: Context, n: int) -> str:
        """Counts."""
        for i in range(n):
            await ctx.report_progress(i + 1, n)
        return "counted"

    @mcp.tool()
    async def sure(ctx: Context) -> str:
        """Asks."""
        answer = await {elicit}
        return f"{{answer.action}} {{answer.data.value}}"

    @mcp.tool()
    async def fail() -> str:
        """Fails."""
        print("a print")
        raise ValueError("as it should")

    @mcp.prompt()
    def greet(name: str) -> str:
        """Greets."""
        return f"Greet {{name}}"

    @mcp.resource("test://text")
    def text() -> str:
        return "a text"

    {last}
'''

FASTMCP = {
    "imports": "from fastmcp import Context, FastMCP",
    "server": "FastMCP",
    "elicit": 'ctx.elicit("Sure?", Sure)',
    "last": "import toolbus; toolbus.serve(mcp)",
}
MCP_2 = {
    "imports": "from mcp.server.mcpserver import Context, MCPServer",
    "server": "MCPServer",
    "elicit": 'ctx.elicit("Sure?", Sure)',
    "last": "",
}
MCP_1 = MCP_2 | {"imports": "from mcp.server.fastmcp import Context, FastMCP", "server": "FastMCP", "last": "if 0: mcp.run()"}

# The source, its Python, and whether it knows the newest revision.
SERVERS = {
    "worker": (WORKER, sys.executable, True),
    "fastmcp 4": (OTHER.format(**FASTMCP), sys.executable, True),
    "mcp 2": (OTHER.format(**MCP_2), sys.executable, True),
    "mcp 1": (OTHER.format(**MCP_1), str(OLD_PYTHON), False),
}


async def accepts(context: Any, params: Any) -> ElicitResult:
    """A person who says yes."""
    assert params.message == "Sure?"
    return ElicitResult(action="accept", content={"value": True})


async def played(client: Client, server: str) -> None:
    """What a client does with a server."""
    names = [tool.name for tool in (await client.list_tools()).tools]
    assert names == ["add", "count", "sure", "fail"]
    added = await client.call_tool("add", {"a": 1, "b": 2})
    assert added.structured_content == {"result": 3} and not added.is_error
    told: list[float] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        told.append(progress)

    counted = await client.call_tool("count", {"n": 3}, progress_callback=hear)
    assert counted.content[0].text == "counted"  # type: ignore[union-attr]
    assert told == [1, 2, 3]
    failed = await client.call_tool("fail", {})
    # What went wrong is not said to callers by mcp 2.
    said = "Error executing tool fail" if server == "mcp 2" else "as it should"
    assert failed.is_error and said in failed.content[0].text  # type: ignore[union-attr]
    wrong = await client.call_tool("add", {"a": "x"})
    assert wrong.is_error
    if server != "worker":
        prompt = await client.get_prompt("greet", {"name": "Ann"})
        assert prompt.messages[0].content.text == "Greet Ann"  # type: ignore[union-attr]
        resource = await client.read_resource("test://text")
        assert resource.contents[0].text == "a text"  # type: ignore[union-attr]


async def asked(client: Client, server: str, mode: str) -> None:
    """A question goes to the person, and the answer to the tool."""
    if server in ("fastmcp 4", "mcp 2") and mode != "legacy":
        # Those ask in the course of a call, which the newest revision does not have; their tools return questions there.
        return
    answered = await client.call_tool("sure", {})
    assert answered.content[0].text.lower() == "accept true", answered  # type: ignore[union-attr]


@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.parametrize("server", SERVERS)
def test_a_real_client(tmp_path: Path, server: str, mode: str) -> None:
    source, python, is_modern = SERVERS[server]
    if not Path(python).exists():
        pytest.skip(f"skipped: no {python}")
    file = written(tmp_path, source)

    async def play() -> None:
        command = StdioServerParameters(command=python, args=["-m", "toolbus.host", str(file)])
        with anyio.fail_after(PATIENCE):
            async with Client(stdio_client(command), mode=mode, elicitation_callback=accepts) as client:
                expected = "2026-07-28" if mode == "auto" and is_modern else "2025-11-25"
                assert client.protocol_version == expected
                await played(client, server)
                await asked(client, server, mode)

    anyio.run(play)
