"""The FastMCP server of `mesh.py`: all that `_peer.py` has, and a function that says in which process it runs."""

import asyncio
import os

from _peer import with_fastmcp
from fastmcp import Context

server = with_fastmcp("tools")


@server.tool()
async def hold(seconds: float, ctx: Context) -> str:
    """Tell the caller in which process this runs, and wait."""
    await ctx.report_progress(1, 2, str(os.getpid()))
    await asyncio.sleep(seconds)
    return "held"


if __name__ == "__main__":
    server.run(transport="stdio", show_banner=False)
