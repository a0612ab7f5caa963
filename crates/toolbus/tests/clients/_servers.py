"""The real servers of `pairs.py`: how each is started, reached, and written in a configuration."""

import contextlib
import json
import os
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

import _scenes
from _peer import RED_DOT
from _support import HERE, PYTHON, ROOT, TOOLBUS, TOOLS, Process, eventually

OLD_PYTHON = str(ROOT / ".venv-old/bin/python")
NODE = str(TOOLS / "node")
FIXTURE = [str(Path(TOOLBUS).with_name("fixture"))]

# So that it is seen whether all pages are asked for.
FIXTURE_FLAGS = ["--era", "modern", "--page-size", "5"]

# What the server for files may see: one folder to read, and one to write to.
FOLDERS = ("files", "written")


@dataclass(frozen=True)
class Server:
    """One of the servers behind the gateway."""

    name: str
    kind: str
    # How it is reached: by stdio, http or sse.
    way: str
    # The eras of which it knows revisions.
    eras: tuple[str, ...]

    def scene(self, play: str, folder: Path) -> list[dict]:
        if self.kind in ("fastmcp", "mcp", "old"):
            return _scenes.peer(self.kind, self.name, play, folder)
        return getattr(_scenes, self.kind)(play, folder)

    def command(self, folder: Path) -> list[str]:
        """As a child that speaks on stdio."""
        if self.kind == "fixture":
            return [*FIXTURE, "stdio", *FIXTURE_FLAGS]
        if self.kind == "everything":
            return [NODE, str(TOOLS / "mcp-server-everything"), "stdio"]
        if self.kind == "files":
            return [NODE, str(TOOLS / "mcp-server-filesystem"), *(str(folder / each) for each in FOLDERS)]
        return [*python_peer(self.kind), "stdio", self.name]

    def start(self, folder: Path) -> Process:
        """As a server with a URL."""
        if self.kind == "fixture":
            return Process([*FIXTURE, "http", *FIXTURE_FLAGS], folder, self.name)
        if self.kind == "everything":
            return EverythingAtURL(self.way, folder, self.name)
        return Process([*python_peer(self.kind), self.way, self.name], folder, self.name)

    def section(self, folder: Path, urls: dict[str, str]) -> str:
        """Its section of a configuration."""
        if self.way == "stdio":
            return f"[servers.{self.name}.stdio]\ncommand = {json.dumps(self.command(folder))}\n"
        return f"[servers.{self.name}.http]\nurl = {json.dumps(urls[self.name])}\n"


def python_peer(package: str) -> list[str]:
    return [OLD_PYTHON if package == "old" else PYTHON, str(HERE / "_peer.py"), package]


class EverythingAtURL(Process):
    """server-everything, which takes a port by number and prints no URL."""

    def __init__(self, way: str, folder: Path, name: str) -> None:
        mode, path = ("sse", "sse") if way == "sse" else ("streamableHttp", "mcp")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/{path}"
        self.log = folder / f"{name}.log"
        with self.log.open("ab") as log:
            command = [NODE, str(TOOLS / "mcp-server-everything"), mode]
            environment = {**os.environ, "PORT": str(self.port)}
            self.child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)

    def listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False


BOTH, OLDER, NEWER = ("legacy", "modern"), ("legacy",), ("modern",)

# In the order of the configuration.
SERVERS = [
    Server("fast", "fastmcp", "stdio", BOTH),
    Server("plain", "mcp", "stdio", BOTH),
    Server("old", "old", "stdio", OLDER),
    Server("everything", "everything", "stdio", OLDER),
    Server("files", "files", "stdio", OLDER),
    Server("fixture", "fixture", "stdio", NEWER),
    Server("fast-web", "fastmcp", "http", BOTH),
    Server("plain-web", "mcp", "http", BOTH),
    Server("old-web", "old", "http", OLDER),
    Server("everything-web", "everything", "http", OLDER),
    Server("fixture-web", "fixture", "http", NEWER),
    Server("plain-sse", "mcp", "sse", OLDER),
    Server("everything-sse", "everything", "sse", OLDER),
]


@contextlib.contextmanager
def started(folder: Path, names: list[str] | None = None):
    """The servers that have URLs, or some of them: the URLs at which they listen. And what the one for files shows."""
    for name in FOLDERS:
        (folder / name).mkdir()
    (folder / FOLDERS[0] / "hello.txt").write_text("hello file")
    (folder / FOLDERS[0] / "dot.png").write_bytes(RED_DOT)
    with contextlib.ExitStack() as stack:
        # Those that do not say when they listen first, so that they can begin while the others are waited for.
        at_urls = [each for each in SERVERS if each.way != "stdio" and (names is None or each.name in names)]
        at_urls.sort(key=lambda each: each.kind != "everything")
        running = {each.name: stack.enter_context(each.start(folder)) for each in at_urls}
        for name, server in running.items():
            if isinstance(server, EverythingAtURL) and not eventually(server.listens):
                raise RuntimeError(f"{name} does not listen; {server.last_words()}")
        yield {name: server.url for name, server in running.items()}
