"""The reference runner, as its callers see it: over TCP and a Unix socket, on a good day and on others."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from _peer import CAPABILITIES, FORMS, LEVEL, PATIENCE, environment, written
from test_servers import MCP_2, OTHER

TOOLS = '''
    import asyncio, os, sys, threading, time
    from toolbus import Context, Image, ToolError, Worker

    worker = Worker("tools", threads=2)
    never = threading.Event()

    @worker.tool(read_only=True)
    def add(a: int, b: int) -> int:
        """Adds."""
        return a + b

    @worker.tool()
    async def count(ctx: Context, n: int) -> str:
        """Counts."""
        for i in range(n):
            ctx.report_progress(i + 1, n, "on it")
            ctx.heartbeat()
            ctx.info("a line")
            await asyncio.sleep(0)
        return "counted"

    @worker.tool()
    def fail() -> str:
        """Fails."""
        raise ToolError("as it should")

    @worker.tool()
    async def leave() -> str:
        """Leaves."""
        sys.exit(3)

    @worker.tool()
    def picture() -> Image:
        """Shows."""
        return Image(b"png", "image/png")

    @worker.tool()
    async def nothing() -> None:
        """Does nothing."""

    @worker.tool()
    async def sure(ctx: Context) -> str:
        """Asks."""
        answer = await ctx.elicit("Sure?", bool)
        return f"{answer.action} {answer.data}"

    @worker.tool()
    def hang() -> None:
        """Hangs."""
        never.wait()

    @worker.tool()
    async def wait(ctx: Context, at: str) -> str:
        """Waits until it is cancelled, and says so in a file."""
        try:
            ctx.report_progress(1)
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            open(at, "w").close()
            raise
        return "never"
'''


class Runner:
    """A runner, and requests to it."""

    def __init__(self, target: object, *arguments: object, env: dict[str, str] | None = None) -> None:
        words = [str(word) for word in ("-m", "toolbus.runner", target, *arguments)]
        self.process = subprocess.Popen(
            [sys.executable, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(**env or {}), text=True
        )
        assert self.process.stdout and self.process.stderr
        self.stderr = ""
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        first = self.process.stdout.readline()
        self.address = first.removeprefix("listening on ").strip()
        assert self.address, self.last_words()

    def _listen(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self.stderr += line

    def last_words(self) -> str:
        """What it said at its end."""
        self.process.wait(PATIENCE)
        self._listener.join(PATIENCE)
        return self.stderr

    def connect(self) -> socket.socket:
        """A connection."""
        if self.address.startswith("unix:"):
            wire = socket.socket(socket.AF_UNIX)
            wire.settimeout(PATIENCE)
            wire.connect(self.address.removeprefix("unix:"))
            return wire
        host, _, port = self.address.removeprefix("http://").rpartition(":")
        return socket.create_connection((host.strip("[]"), int(port)), PATIENCE)

    def ask(self, method: str, path: str, body: object = None, **fields: str) -> tuple[int, Any, dict[str, str]]:
        """One request: status, what the body says, and the head's fields."""
        client = http.client.HTTPConnection("localhost", timeout=PATIENCE)
        client.sock = self.connect()
        given = {"Content-Type": "application/json"} | {name.replace("_", "-"): value for name, value in fields.items()}
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        client.request(method, path, data, given)
        answer = client.getresponse()
        read = answer.read()
        head = {name.lower(): value for name, value in answer.getheaders()}
        client.close()
        lines = [json.loads(line) for line in read.splitlines()] if "ndjson" in head.get("content-type", "") else None
        return answer.status, lines if lines is not None else json.loads(read) if read else None, head

    def call(self, name: str, arguments: object = None, **fields: str) -> Any:
        """The plain answer to a call."""
        status, said, _ = self.ask("POST", "/run_tool", {"name": name, "arguments": arguments or {}}, **fields)
        assert status == 200, (status, said)
        return said

    def stream(self, body: dict[str, Any]) -> list[Any]:
        """The lines of a streamed answer."""
        status, said, _ = self.ask("POST", "/run_tool", body, Accept="application/x-ndjson")
        assert status == 200, (status, said)
        lines: list[Any] = said
        return lines

    def until(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """What `/health` says once it says what is wanted."""
        deadline = time.monotonic() + PATIENCE
        while True:
            said: dict[str, Any] = self.ask("GET", "/health")[1]
            if wanted(said):
                return said
            assert time.monotonic() < deadline, said
            time.sleep(0.02)

    def ready(self) -> "Runner":
        """Waits until it is."""
        self.until(lambda said: bool(said["ready"]))
        return self


Start = Callable[..., Runner]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts runners of a source; they end with the test."""
    started: list[Runner] = []

    def one(source: str = TOOLS, *arguments: object, target: object = None, **env: str) -> Runner:
        where = arguments or ("--port", 0)
        started.append(Runner(target or written(tmp_path, source), *where, env=env))
        return started[-1]

    yield one
    for runner in started:
        runner.process.kill()
        runner.process.wait(PATIENCE)


def text(result: dict[str, Any]) -> str:
    """The text of a result."""
    return str(result["content"][0]["text"])


@pytest.mark.parametrize("over", ["tcp", "unix"])
def test_calls_of_both_shapes(start: Start, tmp_path: Path, over: str) -> None:
    runner = start(TOOLS, *(() if over == "tcp" else ("--socket", tmp_path / "r.sock"))).ready()
    assert runner.address.startswith("http://127.0.0.1:" if over == "tcp" else "unix:")
    sum_of = {"content": [{"type": "text", "text": "3"}], "isError": False}
    for member in ("name", "command"):
        status, said, _ = runner.ask("POST", "/run_tool", {member: "add", "arguments": {"a": 1, "b": 2}})
        assert (status, said) == (200, sum_of)
    assert runner.call("fail") == {"content": [{"type": "text", "text": "as it should"}], "isError": True}
    assert runner.call("nothing") == {"content": [{"type": "text", "text": ""}], "isError": False}
    shown = runner.call("picture")["content"]
    assert [block["type"] for block in shown] == ["text"] and json.loads(shown[0]["text"])["mimeType"] == "image/png"
    wrong = runner.call("add", {"a": "x"})
    assert wrong["isError"] and "- b: Field required" in text(wrong)
    left = runner.call("leave")
    assert left["isError"] and "SystemExit: 3" in text(left)
    if over == "unix":
        assert (tmp_path / "r.sock").stat().st_mode & 0o777 == 0o600


def test_a_streamed_answer(start: Start) -> None:
    runner = start().ready()
    lines = runner.stream({"name": "count", "arguments": {"n": 2}, "_meta": {LEVEL: "info"}})
    report = [{"progress": n, "total": 2, "message": "on it"} for n in (1, 2)]
    log = {"log": {"level": "info", "data": "a line"}}
    beat = {"heartbeat": True}
    result = {"result": {"content": [{"type": "text", "text": "counted"}]}}
    assert lines == [report[0], beat, log, report[1], beat, log, result]
    assert runner.stream({"name": "add", "arguments": {"a": 1, "b": 2}})[0]["result"]["structuredContent"] == {"result": 3}
    status, said, _ = runner.ask("POST", "/run_tool", {"name": "none"}, Accept="application/x-ndjson")
    assert status == 404 and said["error"]["code"] == -32602, said


def test_questions(start: Start) -> None:
    runner = start().ready()
    call = {"name": "sure", "arguments": {}, "_meta": {CAPABILITIES: FORMS}}
    question = runner.stream(call)[-1]["result"]
    (key,) = question["inputRequests"]
    answers = {key: {"action": "accept", "content": {"value": True}}}
    answered = runner.stream(call | {"requestState": question["requestState"], "inputResponses": answers})
    assert text(answered[-1]["result"]) == "accept True"
    # The plain form has no place for a question.
    plain = runner.ask("POST", "/run_tool", call)[1]
    assert plain["isError"] and "cannot be asked" in text(plain)


def test_it_is_ready_when_its_tools_are_loaded(start: Start, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    source = f"""
        import os, time
        while not os.path.exists({str(gate)!r}):
            time.sleep(0.01)

        def one() -> int:
            "Gives."
            return 1
    """
    runner = start(source)
    status, said, _ = runner.ask("GET", "/health")
    assert status == 503 and said["status"] == "initializing" and not said["ready"] and said["initializing"]
    status, said, head = runner.ask("POST", "/run_tool", {"name": "one"})
    assert status == 503 and "loading" in said["error"]["message"] and head["retry-after"] == "1"
    gate.touch()
    said = runner.ready().ask("GET", "/health")[1]
    assert said["status"] == "ok" and not said["initializing"]
    assert text(runner.call("one")) == "1"


def test_what_cannot_be_loaded_ends_it_with_the_reason(start: Start, tmp_path: Path) -> None:
    runner = start("import nothing_of_this_name")
    assert "nothing_of_this_name" in runner.last_words() and runner.process.returncode == 2
    empty = start("VALUE = 1")
    assert "serves nothing: give it a Worker" in empty.last_words() and empty.process.returncode == 2


def test_hung_functions_do_not_stop_it(start: Start) -> None:
    runner = start().ready()
    for _ in range(3):
        hung = [runner.connect() for _ in range(2)]
        for wire in hung:
            wire.sendall(_post("/run_tool", {"name": "hang"}))
        runner.until(lambda said: said["calls"] == 2)
        for wire in hung:
            wire.close()
        assert text(runner.call("add", {"a": 1, "b": 2})) == "3"
    said = runner.until(lambda said: said["lost"] == 6)
    assert said["status"] == "degraded" and said["ready"]
    runner.process.send_signal(signal.SIGTERM)
    runner.last_words()
    assert runner.process.returncode == 0


def test_who_closes_cancels(start: Start, tmp_path: Path) -> None:
    runner = start().ready()
    for number, accept in enumerate(("application/json", "application/x-ndjson")):
        at = tmp_path / f"cancelled-{number}"
        wire = runner.connect()
        wire.sendall(_post("/run_tool", {"name": "wait", "arguments": {"at": str(at)}}, f"Accept: {accept}\r\n"))
        if number:
            assert b'{"progress":1' in wire.recv(4096)
        runner.until(lambda said: said["calls"] == 1)
        wire.close()
        runner.until(lambda said: said["calls"] == 0)
        deadline = time.monotonic() + PATIENCE
        while not at.exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)


def _post(path: str, body: object, fields: str = "") -> bytes:
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{fields}Content-Length: {len(data)}\r\n\r\n"
    return head.encode() + data


def test_requests_after_each_other_on_one_connection(start: Start) -> None:
    runner = start().ready()
    with runner.connect() as wire:
        # Sent at once, and in pieces.
        request = _post("/run_tool", {"name": "add", "arguments": {"a": 1, "b": 2}})
        wire.sendall(request + request + request[:40])
        time.sleep(0.05)
        wire.sendall(request[40:])
        found = b""
        while found.count(b'"isError":false}') < 3:
            more = wire.recv(4096)
            assert more, found
            found += more
        assert found.count(b"HTTP/1.1 200 OK") == 3


BAD = [
    (b"nonsense\r\n\r\n", 400, "first line"),
    (b"GET /health HTTP/1.1\r\nbroken\r\n\r\n", 400, "NAME: VALUE"),
    (b"GET /health HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403, "evil.example"),
    (b"GET /health HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.example\r\n\r\n", 403, "pages of https://evil.example"),
    (b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n", 404, "there is no /nowhere; there are /run_tool"),
    (b"GET /run_tool HTTP/1.1\r\nHost: localhost\r\n\r\n", 405, "for POST"),
    (b"POST /health HTTP/1.1\r\nHost: localhost\r\n\r\n", 405, "for GET"),
    (b"POST /run_tool HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n", 400, "Content-Length is no number"),
    (b"POST /run_tool HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400, "content-length stands twice"),
    (b"POST /run_tool HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999999\r\n\r\n", 413, "at most 67108864 bytes"),
    (b"POST /run_tool HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n", 411, "Content-Length"),
    (b"GET /" + b"x" * 17000, 431, "at most 16384 bytes"),
    (b"POST /run_tool HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}", 415, "application/json"),
    (_post("/run_tool", []), 400, "a JSON object"),
    (_post("/run_tool", {}), 400, "a call is"),
    (_post("/run_tool", {"name": 1}), 400, "a call is"),
    (_post("/run_tool", {"name": "add", "command": "fail"}), 400, "different things"),
    (_post("/run_tool", {"name": "add", "arguments": []}), 400, "arguments is an object"),
    (_post("/run_tool", {"name": "add", "requestState": 1}), 400, "requestState is text"),
    (_post("/resources/read", {}), 400, "uri is missing"),
    (_post("/run_tool", {})[:-2] + b"{{", 400, "no JSON"),
    (_post("/run_tool", {"name": "unknown"}), 404, "unknown tool 'unknown'"),
]


def test_bad_requests_are_told_what_is_wrong(start: Start) -> None:
    runner = start().ready()
    for request, status, why in BAD:
        with runner.connect() as wire:
            wire.sendall(request)
            answer = http.client.HTTPResponse(wire)
            answer.begin()
            said = json.loads(answer.read())["error"]["message"]
            assert (answer.status, why in said) == (status, True), (request[:80], answer.status, said)
    assert text(runner.call("add", {"a": 1, "b": 2})) == "3"


def test_what_there_is(start: Start) -> None:
    runner = start(OTHER.format(**MCP_2)).ready()
    status, tools, head = runner.ask("GET", "/tools")
    assert status == 200 and [tool["name"] for tool in tools["tools"]] == ["add", "count", "sure", "fail"]
    assert runner.ask("GET", "/tools", If_None_Match=head["etag"])[0] == 304
    resources = runner.ask("GET", "/resources")[1]
    assert [entry["uri"] for entry in resources["resources"]] == ["test://text"] and resources["resourceTemplates"] == []
    assert runner.ask("POST", "/resources/read", {"uri": "test://text"})[1]["contents"][0]["text"] == "a text"
    status, said, _ = runner.ask("POST", "/resources/read", {"uri": "test://none"})
    assert status == 404 and "test://none" in json.dumps(said), (status, said)
    assert [prompt["name"] for prompt in runner.ask("GET", "/prompts")[1]["prompts"]] == ["greet"]
    got = runner.ask("POST", "/prompts/get", {"name": "greet", "arguments": {"name": "Ann"}})[1]
    assert got["messages"][0]["content"]["text"] == "Greet Ann"
    assert runner.ask("POST", "/prompts/get", {"name": "none"})[0] == 404
    health = runner.ask("GET", "/health")[1]
    assert {"tools", "resources", "prompts"} <= set(health["capabilities"]) and health["lists"]


def test_who_may_call(start: Start) -> None:
    open_to_all = {"authenticated": True, "required": False, "scheme": "none"}
    assert start().ready().ask("GET", "/api/v1/auth/status")[1] == open_to_all
    runner = start(TOOLS, TOOLBUS_RUNNER_TOKEN="secret").ready()
    status, said, _ = runner.ask("GET", "/tools")
    assert status == 401 and "Bearer" in said["error"]["message"]
    assert runner.ask("GET", "/tools", Authorization="Bearer wrong")[0] == 401
    assert runner.ask("GET", "/tools", Authorization="Bearer secret")[0] == 200
    assert runner.ask("GET", "/api/v1/auth/status")[1]["authenticated"] is False
    assert runner.ask("GET", "/api/v1/auth/status", Authorization="Bearer secret")[1]["authenticated"] is True


def test_it_does_not_listen_to_other_machines_without_a_token(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "toolbus.runner", str(written(tmp_path, TOOLS)), "--host", "0.0.0.0", "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, env=environment())
    assert done.returncode == 2 and "set TOOLBUS_RUNNER_TOKEN" in done.stderr


def test_a_socket_that_was_left_is_taken(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "r.sock"
    first = start(TOOLS, "--socket", path).ready()
    first.process.kill()
    first.last_words()
    assert path.exists()
    second = start(TOOLS, "--socket", path).ready()
    third = subprocess.run(
        [sys.executable, "-m", "toolbus.runner", str(tmp_path / "tools.py"), "--socket", str(path)],
        capture_output=True, text=True, timeout=PATIENCE, env=environment(),
    )
    assert third.returncode == 2 and "somebody listens" in third.stderr
    second.process.send_signal(signal.SIGTERM)
    second.last_words()
    assert second.process.returncode == 0 and not os.path.exists(path)


def test_what_tools_print_is_not_in_the_way(start: Start) -> None:
    runner = start("import os\nprint('at import')\n\ndef one() -> int:\n    'Gives.'\n    print('in call')\n    return 1\n").ready()
    assert text(runner.call("one")) == "1"
