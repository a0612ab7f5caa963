"""A plain caller: it knows NATS and JSON-RPC, and nothing of Toolbus.  python caller.py URN JSON [nats://127.0.0.1:4222]"""

import asyncio
import json
import sys
import uuid

import nats


async def main(urn: str, arguments: str, server: str = "nats://127.0.0.1:4222") -> None:
    client = await nats.connect(server)
    params = {"arguments": json.loads(arguments), "name": urn}
    request = {"id": str(uuid.uuid4()), "jsonrpc": "2.0", "method": "tools/call", "params": params}
    subject = f"coreason.tool.{urn.replace(':', '.')}.invoke"
    reply = await client.request(subject, json.dumps(request, separators=(",", ":")).encode(), timeout=30)
    print(reply.data.decode())
    await client.close()


asyncio.run(main(*sys.argv[1:]))
