"""A small MCP server on stdio: three tools, as plain Python functions.

Toolbus starts it (see toolbus.toml). It needs the package `mcp`, 2.x.
"""

from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import BaseModel

server = MCPServer("math-tools", version="1.0.0")


@server.tool()
def add(a: int | float, b: int | float) -> int | float:
    """Add two numbers."""
    return a + b


class TextStatistics(BaseModel):
    words: int
    different_words: int
    lines: int
    longest_word: str


@server.tool()
def text_statistics(text: str) -> TextStatistics:
    """Count the words and lines of a text, and find its longest word."""
    words = [word.strip(".,;:!?()\"'").lower() for word in text.split()]
    return TextStatistics(
        words=len(words),
        different_words=len(set(words)),
        lines=len(text.splitlines()),
        longest_word=max(words, key=len, default=""),
    )


@server.tool()
async def count_primes(limit: int, ctx: Context) -> int:
    """Count the primes up to a limit of at most ten million, and tell after each quarter how far it is."""
    if not 2 <= limit <= 10_000_000:
        raise ToolError("limit must be between 2 and 10000000")
    is_prime = bytearray([1]) * (limit + 1)
    is_prime[0:2] = b"\0\0"
    for n in range(2, int(limit**0.5) + 1):
        if is_prime[n]:
            is_prime[n * n :: n] = bytes(len(range(n * n, limit + 1, n)))
    count, begin = 0, 0
    for quarter in range(1, 5):
        end = (limit + 1) * quarter // 4
        count += sum(is_prime[begin:end])
        begin = end
        await ctx.report_progress(quarter, 4, f"{count} primes up to {end - 1}")
    return count


if __name__ == "__main__":
    server.run()
