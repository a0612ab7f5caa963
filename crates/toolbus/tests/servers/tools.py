"""A server of 2025-11-25 on stdio with the tools of a file, which notes each call.

`tools.py TOOLS CALLS`: TOOLS is a JSON list of definitions; a call's name and arguments are appended to CALLS as a line. A
call answers with its arguments and `pid`, as text and as structured content, or, where they have `answer`, with that.
"""

import json
import os
import sys

tools = json.load(open(sys.argv[1]))
calls = open(sys.argv[2], "a")


def answer(method, params):
    if method == "initialize":
        info = {"name": "tools", "version": "1"}
        return {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": info}
    if method == "tools/list":
        return {"tools": tools}
    if method == "tools/call":
        arguments = params.get("arguments", {})
        print(json.dumps([params["name"], arguments]), file=calls, flush=True)
        content = arguments.get("answer", {"pid": os.getpid(), **arguments})
        return {"content": [{"type": "text", "text": json.dumps(content)}], "structuredContent": content}
    return None


for line in sys.stdin:
    message = json.loads(line)
    if "id" in message:
        result = answer(message.get("method"), message.get("params", {}))
        missing = {"error": {"code": -32601, "message": "Method not found"}}
        body = missing if result is None else {"result": result}
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], **body}), flush=True)
