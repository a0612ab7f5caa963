"""Calls the tools of this folder's toolbus.toml with the MCP client of the package `mcp`, 2.x, and tells what happens.

    client.py URL [MODE]

MODE is what that client calls it: `2026-07-28` speaks exactly that revision, in which every request stands alone;
`legacy` opens a session, as all revisions up to 2025-11-25 do; `auto`, the default, asks the server what it speaks.
"""

import asyncio
import json
import sys

from mcp import Client, MCPError
from mcp.types import CallToolResult

TEXT = "the quick brown fox jumps over the lazy dog"

# Server, its tool, arguments, and what must come back. The client sees tools only; which server has them is Toolbus's
# business, and is told here for the reader.
CALLS = [
    ("math", "add", {"a": 19, "b": 23}, {"result": 42}),
    (
        "math",
        "text_statistics",
        {"text": TEXT},
        {"words": 9, "different_words": 8, "lines": 1, "longest_word": "quick"},
    ),
    ("math", "count_primes", {"limit": 1_000_000}, {"result": 78498}),
    ("everything", "echo", {"message": "hello"}, "Echo: hello"),
    ("everything", "get-sum", {"a": 1, "b": 2}, "The sum of 1 and 2 is 3."),
]


def told(result: CallToolResult) -> object:
    """What a tool answered: its structured content where it has some, else its text."""
    if result.structured_content is not None:
        return result.structured_content
    return "".join(block.text for block in result.content if block.type == "text")


async def progress(done: float, total: float | None, message: str | None) -> None:
    print(f"      progress: {done:g} of {total or 0:g}, {message}")


async def main(url: str, mode: str) -> int:
    wrong = 0
    async with Client(url, mode=mode, read_timeout_seconds=30) as client:
        print(f"  {mode}: the client speaks MCP {client.protocol_version} with {url}")
        tools = (await client.list_tools()).tools
        print(f"    it sees {len(tools)} tools: {', '.join(tool.name for tool in tools[:5])}, ...")
        for server, tool, arguments, expected in CALLS:
            print(f"    {tool} of server {server}, arguments {json.dumps(arguments)}")
            result = await client.call_tool(tool, arguments, progress_callback=progress)
            print(f"      -> {json.dumps(told(result))}")
            if result.is_error or told(result) != expected:
                print(f"      WRONG: expected {json.dumps(expected)}")
                wrong += 1
    return wrong


def why(error: BaseException) -> BaseException:
    """The first cause in the groups that task groups wrap around it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    try:
        failed = asyncio.run(main(sys.argv[1], *(sys.argv[2:] or ["auto"])))
    except MCPError as error:
        sys.exit(f"the server answered with error {error.code}: {error}")
    except Exception as error:
        sys.exit(f"cannot talk to {sys.argv[1]}: {why(error)!r}; does `toolbus up` run there?")
    sys.exit(1 if failed else 0)
