"""A client on the bare wire, for what a client of a package would not do, and the files that the tests serve."""

import itertools
import json
import os
import queue
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parents[3]
OLD_PYTHON = ROOT / ".venv-old/bin/python"

# Answers come in milliseconds; this long they take only on a machine that does much else.
PATIENCE = 30.0

VERSION = "io.modelcontextprotocol/protocolVersion"
CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
LEVEL = "io.modelcontextprotocol/logLevel"
FORMS: dict[str, Any] = {"elicitation": {"form": {}}}

Message = dict[str, Any]


class Peer:
    """Sends lines, and keeps what comes back until it is asked for."""

    def __init__(self, source: IO[bytes], sink: IO[bytes]) -> None:
        self._sink, self._ids = sink, itertools.count(1)
        self._incoming: queue.Queue[Message | None] = queue.Queue()
        self._kept: list[Message] = []
        self._source = source
        # What a test says where the server is gone.
        self.last_words: Callable[[], str] = lambda: ""
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self._source:
            self._incoming.put(json.loads(line))
        self._incoming.put(None)

    def write(self, data: bytes) -> None:
        """Sends bytes as they are."""
        self._sink.write(data)
        self._sink.flush()

    def send(self, message: Message) -> None:
        """Sends a message."""
        self.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")

    def begin(self, method: str, params: Message | None = None, meta: Message | None = None, caps: Message | None = None) -> int:
        """Sends a request of 2026-07-28; answers with its id."""
        id = next(self._ids)
        given = {VERSION: "2026-07-28", CAPABILITIES: caps or {}} | (meta or {})
        self.send({"id": id, "method": method, "params": (params or {}) | {"_meta": given}})
        return id

    def call(self, tool: str, arguments: Message | None = None, **more: Any) -> int:
        """Begins a call of a tool."""
        extra = more.pop("params", {})
        return self.begin("tools/call", {"name": tool, "arguments": arguments or {}} | extra, **more)

    def next(self, wanted: Callable[[Message], bool]) -> Message:
        """The first message that is wanted; the others are kept."""
        for n, kept in enumerate(self._kept):
            if wanted(kept):
                return self._kept.pop(n)
        while True:
            if (message := self._incoming.get(timeout=PATIENCE)) is None:
                raise EOFError(f"the server has closed its side {self.last_words()}")
            if wanted(message):
                return message
            self._kept.append(message)

    def answer(self, id: Any) -> Message:
        """The response to a request."""
        return self.next(lambda message: message.get("id") == id and "method" not in message)

    def result(self, id: int) -> Message:
        """The result of a request."""
        answer = self.answer(id)
        assert "result" in answer, answer
        found: Message = answer["result"]
        return found

    def error(self, id: Any) -> Message:
        """The error of a request."""
        found: Message = self.answer(id)["error"]
        return found

    def ask(self, tool: str, arguments: Message | None = None, **more: Any) -> Message:
        """The result of a call."""
        return self.result(self.call(tool, arguments, **more))

    def text(self, tool: str, arguments: Message | None = None, **more: Any) -> str:
        """The text of a call's result."""
        shown: str = self.ask(tool, arguments, **more)["content"][0]["text"]
        return shown

    def tools(self) -> dict[str, Message]:
        """The definitions of the tools."""
        return {tool["name"]: tool for tool in self.result(self.begin("tools/list"))["tools"]}

    def noticed(self, method: str) -> list[Message]:
        """The params of the notices of this kind that came before the last answer."""
        found = [message["params"] for message in self._kept if message.get("method") == method]
        self._kept = [message for message in self._kept if message.get("method") != method]
        return found

    def closed(self) -> list[Message]:
        """Waits for the end; answers with what was left."""
        while (message := self._incoming.get(timeout=PATIENCE)) is not None:
            self._kept.append(message)
        return self._kept


def written(folder: Path, source: str, name: str = "tools.py") -> Path:
    """A file to serve."""
    path = folder / name
    path.write_text(textwrap.dedent(source))
    return path


def environment(**more: str) -> dict[str, str]:
    """Ours, without what a test must not see."""
    return {name: value for name, value in os.environ.items() if name != "TOOLBUS_BIN"} | more


class Host:
    """`python -m toolbus.host` and the peer at its streams."""

    def __init__(self, target: object, python: object = sys.executable) -> None:
        command = [str(python), "-m", "toolbus.host", str(target)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment())
        assert self.process.stdin and self.process.stdout and self.process.stderr
        self.stderr = b""
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        self.peer = Peer(self.process.stdout, self.process.stdin)
        self.peer.last_words = self._last_words

    def _listen(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self.stderr += line

    def _last_words(self) -> str:
        self._listener.join(PATIENCE)
        return self.stderr.decode()

    def hang_up(self) -> int:
        """Closes its input; answers with the exit status."""
        assert self.process.stdin
        self.process.stdin.close()
        status = self.process.wait(PATIENCE)
        self._listener.join(PATIENCE)
        return status

    def end(self) -> None:
        """Ends it, however it is."""
        self.process.kill()
        self.process.wait(PATIENCE)


def connected(path: Path) -> Peer:
    """A peer at a Unix socket."""
    wire = socket.socket(socket.AF_UNIX)
    wire.connect(str(path))
    return Peer(wire.makefile("rb"), wire.makefile("wb"))
