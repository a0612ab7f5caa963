"""A plain worker: it knows NATS and JSON-RPC, and nothing of Toolbus.  python worker.py [nats://127.0.0.1:4222]"""

import asyncio
import json
import sys

import nats

URN = "urn:demo:actionspace:solver:add:v1"
NUMBERS = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}, "required": ["a", "b"]}


async def invoke(message) -> None:
    request = json.loads(message.data)
    numbers = request["params"]["arguments"]
    result = {"content": [{"type": "text", "text": str(numbers["a"] + numbers["b"])}]}
    await message.respond(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}).encode())


async def discover(message) -> None:
    await message.respond(json.dumps({"name": URN, "description": "Adds.", "inputSchema": NUMBERS}).encode())


async def main(server: str) -> None:
    client = await nats.connect(server)
    await client.subscribe(f"coreason.tool.{URN.replace(':', '.')}.invoke", queue="workers", cb=invoke)
    await client.subscribe("coreason.tool.discover", cb=discover)
    await asyncio.Event().wait()


asyncio.run(main((sys.argv[1:] or ["nats://127.0.0.1:4222"])[0]))
