"""A server of 2025-11-25 on stdio that asks its client, also in ways in which well-behaved ones do not.

`asker.py FILE [roots]`: what it hears of its client's notifications is appended to FILE; with `roots` it asks for roots
as soon as it is initialized.
"""

import json
import os
import sys
import threading
import time

client, roots, pages, waiting, heard = {}, None, 0, {}, open(sys.argv[1], "a")
FORM = {"message": "who?", "requestedSchema": {"type": "object", "properties": {"name": {"type": "string"}}}}
SAMPLE = {"messages": [{"role": "user", "content": {"type": "text", "text": "hi"}}], "maxTokens": 5}


def send(**message):
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def text(value, **more):
    return {"content": [{"type": "text", "text": json.dumps(value)}], **more}


def two(id, token):
    answers = yield [("elicitation/create", FORM), ("sampling/createMessage", SAMPLE)]
    return text(answers)


def ask(id, token):
    answers = yield [("elicitation/create", FORM)]
    return text(answers)


def page(id, token):
    answers = yield [("elicitation/create", {"mode": "url", "message": "open", "url": "https://example.com/"})]
    return text(answers)


def other(id, token):
    answers = yield [("tools/list", {})]
    return text(answers)


def hang(id, token):
    """Asks, and then never ends."""
    yield [("elicitation/create", FORM)]
    print("hanging", file=heard, flush=True)
    yield []


def steps(id, token):
    def progress(*values):
        for value in values:
            send(method="notifications/progress", params={"progressToken": token, "progress": value, "total": 4})

    progress(1, 1, 0.5, 2)
    yield [("elicitation/create", FORM)]
    progress(2.5, 2.5, 4)
    return text("done")


def die(id, token):
    def end():
        time.sleep(0.3)
        sys.stderr.write("out of patience\n")
        sys.stderr.flush()
        os._exit(3)

    threading.Thread(target=end).start()
    return (yield from ask(id, token))


def give_up(id, token):
    """Asks, and does without an answer soon after."""

    def stop():
        time.sleep(0.3)
        send(method="notifications/cancelled", params={"requestId": "question-1"})
        send(id=id, result=text("never mind"))

    threading.Thread(target=stop).start()
    return (yield from ask(id, token))


def locked(id, token):
    """Works once a page was opened, which it finds out at the second call."""
    global pages
    pages += 1
    if pages > 1:
        return text("open")
    page = {"mode": "url", "elicitationId": "e", "url": "https://example.com/key", "message": "Bring the key"}
    return {"error": {"code": -32042, "message": "locked", "data": {"elicitations": [page]}}}
    yield


def show(id, token):
    return text({"pid": os.getpid(), "capabilities": client, "roots": roots})
    yield


TOOLS = {f.__name__: f for f in [two, ask, page, other, hang, steps, die, give_up, locked, show]}


class Run:
    """A tool in its work; its questions have ids of text, which count anew in each call."""

    def __init__(self, id, work):
        self.id, self.work, self.count = id, work, 0
        self.go(None)

    def go(self, answers):
        try:
            asks = self.work.send(answers)
        except StopIteration as end:
            return send(id=self.id, **(end.value if "error" in end.value else {"result": end.value}))
        self.open, self.answers = {}, [None] * len(asks)
        for place, (method, params) in enumerate(asks):
            self.count += 1
            id = f"question-{self.count}"
            self.open[id] = place
            waiting[id] = self
            send(id=id, method=method, params=params)

    def take(self, message):
        self.answers[self.open.pop(message["id"])] = message.get("result", message.get("error"))
        if not self.open:
            self.go(self.answers)


def initialize(params):
    client.update(params["capabilities"])
    capabilities = {"tools": {}, "logging": {}}
    info = {"name": "asker", "version": "1"}
    return {"protocolVersion": "2025-11-25", "capabilities": capabilities, "serverInfo": info}


def listed():
    names = [name for name in TOOLS if name != "two" or "elicitation" in client]
    return {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in names]}


for line in sys.stdin:
    message = json.loads(line)
    method, id = message.get("method"), message.get("id")
    if method is None:
        if id == "roots":
            roots = message.get("result", message.get("error"))
        elif id in waiting:
            waiting.pop(id).take(message)
    elif method == "initialize":
        send(id=id, result=initialize(message["params"]))
    elif method == "tools/list":
        send(id=id, result=listed())
    elif method == "tools/call":
        params = message["params"]
        Run(id, TOOLS[params["name"]](id, params["_meta"]["progressToken"]))
    elif method == "logging/setLevel":
        print(method, message["params"]["level"], file=heard, flush=True)
        send(id=id, result={})
    elif id is None:
        print(method, file=heard, flush=True)
        if method == "notifications/initialized" and "roots" in sys.argv[2:] and "roots" in client:
            send(id="roots", method="roots/list")
    else:
        send(id=id, error={"code": -32601, "message": "Method not found"})
