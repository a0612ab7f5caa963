"""A FastMCP function behind nats-py, in one process: what one would write without Toolbus.

`python fastmcp_nats.py URL SUBJECT` answers JSON-RPC `tools/call` requests there, and says "ready" once it does.
"""

import asyncio
import json
import sys

import nats
from fastmcp import FastMCP
from nats.aio.msg import Msg

server = FastMCP("echo")


@server.tool
async def echo(message: str) -> str:
    """Sends the message back."""
    return message


async def main(url: str, subject: str) -> None:
    """Serves until the process ends."""

    async def answer(request: Msg) -> None:
        call = json.loads(request.data)
        result = await server.call_tool(call["params"]["name"], call["params"]["arguments"])
        content = [{"type": part.type, "text": part.text} for part in result.content]
        reply = {"jsonrpc": "2.0", "id": call["id"], "result": {"content": content}}
        await request.respond(json.dumps(reply).encode())

    connection = await nats.connect(url)
    await connection.subscribe(subject, cb=answer)
    await connection.flush()
    print("ready", flush=True)
    await asyncio.Event().wait()


asyncio.run(main(*sys.argv[1:]))
