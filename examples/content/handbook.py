"""An MCP server on stdio with one tool. Its documents and prompts are files, which Toolbus serves beside it."""

from datetime import date, timedelta

from mcp.server import MCPServer

server = MCPServer("handbook", version="1.0.0")


@server.tool()
def next_release(after: date) -> date:
    """The first Tuesday after a day: that is when this team releases."""
    return after + timedelta(days=(1 - after.weekday() - 1) % 7 + 1)


if __name__ == "__main__":
    server.run()
