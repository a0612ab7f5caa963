"""A server on stdio, of 2026-07-28 and without any package, whose tools go wrong in all the ways that there are."""

import json
import os
import sys
import threading
import time

TOOLS = ("fine", "fails", "errs", "asks", "dies", "sleeps")

WRITING = threading.Lock()

EVER = {"ttlMs": 60_000, "cacheScope": "public", "resultType": "complete"}


def listed(name: str) -> dict:
    return {"name": name, "description": f"It {name}.", "inputSchema": {"type": "object"}}


def call(name: str, arguments: dict) -> dict:
    text = [{"type": "text", "text": name}]
    match name:
        case "fine":
            return {"result": {"content": text, "structuredContent": arguments, "resultType": "complete"}}
        case "fails":
            return {"result": {"content": text, "isError": True, "resultType": "complete"}}
        case "errs":
            return {"error": {"code": -32050, "message": "it errs", "data": {"why": ["none"]}}}
        case "asks":
            return {"result": {"resultType": "input_required", "requestState": "s", "inputRequests": {}}}
        case "dies":
            os._exit(3)
        case _:
            time.sleep(60)
            return {}


def answer(message: dict) -> None:
    params = message.get("params", {})
    match message.get("method"):
        case "server/discover":
            said = {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}, **EVER}
            answer = {"result": said}
        case "tools/list":
            answer = {"result": {"tools": [listed(name) for name in TOOLS], **EVER}}
        case "tools/call":
            answer = call(params["name"], params.get("arguments", {}))
        case _:
            answer = {"error": {"code": -32601, "message": "no such method"}}
    if "id" in message:
        with WRITING:
            print(json.dumps({"jsonrpc": "2.0", "id": message["id"], **answer}), flush=True)


for line in sys.stdin:
    threading.Thread(target=answer, args=(json.loads(line),), daemon=True).start()
