"""Connections of real clients to real servers: what is tried on each, and the clients that try it."""

import asyncio
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import _scenes
from _compare import tidy
from _servers import FOLDERS, NODE, OLD_PYTHON, SERVERS, Server
from _support import HERE, PYTHON, TOOLBUS

# The longest that one play may take, and one player with all of its plays, in seconds.
PLAY, PLAYER = 120, 280


@dataclass(frozen=True)
class Client:
    """A client as a player, with the modes it has."""

    name: str
    command: tuple[str, str]
    modes: tuple[str, ...]
    # What not every client can: to give up a call without closing the connection.
    able: tuple[str, ...] = ()
    # With which servers it is played. One client has them all; for the others each program counts once.
    servers: tuple[str, ...] = tuple(server.name for server in SERVERS)

    async def perform(self, plays: list["Play"], folder: Path) -> dict[str, dict]:
        """All of these plays, in one process; by their ids, what was told of each."""
        pipe = asyncio.subprocess.PIPE
        with (folder / f"player-{self.name}.log").open("wb") as log:
            player = await asyncio.create_subprocess_exec(*self.command, stdin=pipe, stdout=pipe, stderr=log)
        words = json.dumps([play.as_json(folder) for play in plays]).encode()
        try:
            out, _ = await asyncio.wait_for(player.communicate(words), PLAYER)
        finally:
            if player.returncode is None:
                player.kill()
                await player.wait()
        # Not `splitlines`, which takes characters for line ends that JSON may hold.
        told = [json.loads(line) for line in out.decode().split("\n") if line]
        return {each["play"]: tidy(each, each["play"]) for each in told}


# With which servers the mode `auto` is played alone, and the doors besides the common one.
FOR_AUTO = ("plain-web", "everything", "everything-web")
FOR_STDIO = ("plain-web", "everything", "old-web")
FOR_SSE = ("plain-web", "everything", "fixture-web")

# All servers at one door.
EVERYONE = Server("all", "everyone", "http", ("legacy", "modern"))

ALL_MODES = ("legacy", "auto", "modern")

CLIENTS = [
    Client("python", (PYTHON, str(HERE / "_play_mcp.py")), ALL_MODES, ("cancels",)),
    Client(
        "typescript",
        (NODE, str(HERE / "_play_typescript.mjs")),
        ALL_MODES,
        ("cancels",),
        ("fast-web", "plain-web", "old-web", "everything-web", "files", "fixture", "plain-sse", "everything-sse"),
    ),
    Client(
        "old python",
        (OLD_PYTHON, str(HERE / "_play_mcp_old.py")),
        ("legacy",),
        (),
        ("fast-web", "plain", "old-web", "everything-web", "files", "fixture-web", "plain-sse", "everything-sse"),
    ),
]


@dataclass(frozen=True)
class Play:
    """One connection of a client in a mode, and what is done on it."""

    client: Client
    mode: str
    server: Server
    # By which door, in the words of a check.
    where: str
    via: dict
    # Whether the two have no revision in common, so that only its failing is looked at.
    in_vain: bool = False

    @property
    def id(self) -> str:
        return re.sub(r"\W", "-", self.title)

    @property
    def title(self) -> str:
        return f"{self.client.name} {self.mode}, {self.server.name} {self.where}"

    @property
    def era(self) -> str:
        """That of the client; the gateway offers both, so that `auto` takes the newer one."""
        return "legacy" if self.mode == "legacy" else "modern"

    def steps(self, folder: Path) -> list[dict]:
        # Where several clients use a server at once they share its sessions, and one call can be in another than the
        # next.
        sole = self.where in ("directly", "by stdio")
        can = {"legacy": self.era == "legacy", "cancels": "cancels" in self.client.able, "sole": sole}
        steps = [step for step in self.server.scene(self.id, folder) if can.get(step.get("only"), True)]
        return steps[:1] if self.in_vain else steps

    def named_steps(self, folder: Path) -> list[tuple[str, dict]]:
        """Each step under a name that it has in every play of the same scene."""
        return [(json.dumps(tidy(step, self.id)), step) for step in self.steps(folder)]

    def as_json(self, folder: Path) -> dict:
        return {
            "play": self.id,
            "mode": self.mode,
            "via": self.via,
            # Asked for roots, the server for files would forget the folders that it was given.
            "deaf": self.server.kind == "files",
            "answers": _scenes.ANSWERS,
            "roots": [{"uri": f"file://{folder / FOLDERS[0]}", "name": "files"}],
            "within": PLAY,
            "steps": self.steps(folder),
        }


@dataclass(frozen=True)
class Stage:
    """Where the servers and the gateway are."""

    folder: Path
    urls: dict[str, str]
    # The gateway's URL of a path.
    at: Callable[[str], str]
    # The servers that the gateway reaches, and whether it has the door of 2024-11-05.
    up: list[Server]
    sse: bool

    def directly(self, server: Server) -> dict:
        if server.way != "stdio":
            return {"url": self.urls[server.name], "kind": server.way}
        return {"command": server.command(self.folder), "log": str(self.folder / "direct.log")}

    def through(self, path: str) -> dict:
        return {"url": self.at(path), "kind": "sse" if path.endswith("sse") else "http"}

    def by_stdio(self, server: Server) -> dict:
        config = self.folder / f"stdio-{server.name}.toml"
        config.write_text(server.section(self.folder, self.urls))
        state = {"XDG_STATE_HOME": str(self.folder / f"stdio-{server.name}")}
        return {"command": [TOOLBUS, "stdio", str(config)], "env": state, "log": str(self.folder / "stdio.log")}

    def plays(self, client: Client) -> list[Play]:
        """Each server directly, then each through the gateway; `auto` and the other doors with some of them.

        What follows each other goes to different servers: a child that bears one call at a time is started once more
        for each call that comes at the same time.
        """
        plays = [
            Play(client, mode, server, "directly", self.directly(server), mode not in server.eras)
            for mode in client.modes
            for server in SERVERS
            if server.name in client.servers and worth_it(mode, server)
        ]
        up = [server for server in self.up if server.name in client.servers]
        for mode in client.modes:
            for server in up:
                if mode != "auto" or server.name in FOR_AUTO:
                    plays.append(Play(client, mode, server, "alone", self.through(f"/servers/{server.name}/mcp")))
            some = [server for server in up if server.name in FOR_STDIO]
            plays += [Play(client, mode, server, "by stdio", self.by_stdio(server)) for server in some]
            plays.append(Play(client, mode, EVERYONE, "together", self.through("/mcp")))
        if self.sse:
            some = [server for server in up if server.name in FOR_SSE]
            ways = [(server, f"/servers/{server.name}/sse") for server in some] + [(EVERYONE, "/sse")]
            plays += [Play(client, "legacy", server, "by sse", self.through(path)) for server, path in ways]
        return plays


def worth_it(mode: str, server: Server) -> bool:
    # What `auto` finds is one of the others. The old transport belongs to the older revisions, but some servers speak
    # newer ones on it.
    return mode != "auto" and (mode == "legacy" or server.way != "sse")
