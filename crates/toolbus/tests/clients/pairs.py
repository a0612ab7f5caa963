"""Real clients and real servers, each with each: what a client sees through the gateway is what it sees without it.

The clients are the Python package `mcp` 2.x and the TypeScript client, in three modes each, and `mcp` 1.x. Each plays the
steps of `_scenes.py` with each server, directly where both know a common revision, and through the doors of one gateway;
the outcomes must be equal but for what belongs to a connection. Where the two have no revision in common, it must fail
directly and work through the gateway.
"""

import asyncio
import contextlib
import json
import os
import re
import socket
import subprocess
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import _scenes
from _peer import RED_DOT
from _support import HERE, PYTHON, ROOT, TOOLBUS, TOOLS, Checks, Gateway, Process, eventually, run, shorten

OLD_PYTHON = str(ROOT / ".venv-old/bin/python")
NODE = str(TOOLS / "node")
FIXTURE = str(Path(TOOLBUS).with_name("fixture"))

# What the server for files may see: one folder to read, and one to write to.
FOLDERS = ("files", "written")

# The players, and the modes that each has.
CLIENTS = {
    "python": ([PYTHON, str(HERE / "_play_mcp.py")], ("legacy", "auto", "modern")),
    "typescript": ([NODE, str(HERE / "_play_typescript.mjs")], ("legacy", "auto", "modern")),
    "old python": ([OLD_PYTHON, str(HERE / "_play_mcp_old.py")], ("legacy",)),
}

# The longest that one play may take, and one player with all of its plays, in seconds.
PLAY, PLAYER = 60, 150


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
        return getattr(_scenes, self.kind)(self.name, play, folder)

    def command(self, folder: Path) -> list[str]:
        """As a child that speaks on stdio."""
        if self.kind == "fixture":
            return [FIXTURE, "stdio", "--era", "modern", "--page-size", "5"]
        if self.kind == "everything":
            return [NODE, str(TOOLS / "mcp-server-everything"), "stdio"]
        if self.kind == "files":
            return [NODE, str(TOOLS / "mcp-server-filesystem"), *(str(folder / each) for each in FOLDERS)]
        return [*python_peer(self.kind), "stdio", self.name]

    def start(self, folder: Path) -> Process:
        """As a server with a URL."""
        if self.kind == "fixture":
            return Process([FIXTURE, "http", "--era", "modern", "--page-size", "5"], folder, self.name)
        if self.kind == "everything":
            return EverythingAtURL(self.way, folder, self.name)
        return Process([*python_peer(self.kind), self.way, self.name], folder, self.name)


def python_peer(package: str) -> list[str]:
    return [OLD_PYTHON if package == "old" else PYTHON, str(HERE / "_peer.py"), package]


class EverythingAtURL(Process):
    """It takes a port by number and prints no URL."""

    def __init__(self, way: str, folder: Path, name: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.log = folder / f"{name}.log"
        mode = "sse" if way == "sse" else "streamableHttp"
        with self.log.open("ab") as log:
            command = [NODE, str(TOOLS / "mcp-server-everything"), mode]
            environment = {**os.environ, "PORT": str(port)}
            self.child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
        self.url = f"http://127.0.0.1:{port}/{'sse' if way == 'sse' else 'mcp'}"

        def answers() -> bool:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return True
            return False

        if not eventually(answers):
            self.kill()
            raise RuntimeError(f"{name} does not listen; {self.last_words()}")


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
    Server("plain-sse", "mcp", "sse", BOTH),
    Server("everything-sse", "everything", "sse", OLDER),
]


class Stage:
    """The servers, a gateway in front of them, and the plays of one client."""

    def __init__(self, folder: Path, urls: dict[str, str], gateway: Gateway, up: list[Server], sse: bool) -> None:
        self.folder, self.urls, self.gateway, self.up, self.sse = folder, urls, gateway, up, sse

    def directly(self, server: Server) -> dict:
        if server.way != "stdio":
            return {"url": self.urls[server.name], "kind": server.way}
        return {"command": server.command(self.folder), "log": str(self.folder / "direct.log")}

    def through(self, path: str) -> dict:
        return {"url": self.gateway.at(path), "kind": "sse" if path.endswith("sse") else "http"}

    def by_stdio(self, server: Server) -> dict:
        config = self.folder / f"stdio-{server.name}.toml"
        config.write_text(section(server, self.folder, self.urls))
        state = {"XDG_STATE_HOME": str(self.folder / f"stdio-{server.name}")}
        return {"command": [TOOLBUS, "stdio", str(config)], "env": state, "log": str(self.folder / "stdio.log")}


def section(server: Server, folder: Path, urls: dict[str, str]) -> str:
    if server.way == "stdio":
        return f"[servers.{server.name}.stdio]\ncommand = {json.dumps(server.command(folder))}\n"
    return f"[servers.{server.name}.http]\nurl = {json.dumps(urls[server.name])}\n"


@dataclass
class Play:
    """One connection, and what is done on it."""

    client: str
    mode: str
    server: Server
    where: str
    via: dict
    # Whether the two have no revision in common, so that only their failing is looked at.
    in_vain: bool = False

    @property
    def id(self) -> str:
        return re.sub(r"\W", "-", f"{self.client} {self.mode} {self.server.name} {self.where}")

    @property
    def title(self) -> str:
        return f"{self.client} {self.mode}, {self.server.name} {self.where}"

    def era(self) -> str:
        return "legacy" if self.mode == "legacy" else "modern"

    def steps(self, folder: Path) -> list[dict]:
        steps = _scenes.for_era(self.server.scene(self.id, folder), self.era())
        return steps[:1] if self.in_vain else steps

    def as_json(self, folder: Path) -> dict:
        return {
            "play": self.id,
            "mode": self.mode,
            "via": self.via,
            "deaf": self.server.kind == "files",
            "answers": _scenes.ANSWERS,
            "roots": [{"uri": f"file://{folder}/files", "name": "files"}],
            "within": PLAY,
            "steps": self.steps(folder),
        }


def plays_of(client: str, stage: Stage) -> list[Play]:
    _, modes = CLIENTS[client]
    plays = []
    for server in SERVERS:
        for mode in modes:
            if mode != "auto":
                in_vain = mode not in server.eras
                plays.append(Play(client, mode, server, "directly", stage.directly(server), in_vain))
    for server in stage.up:
        path = f"/servers/{server.name}"
        for mode in modes:
            if mode != "auto" or server.name in ("plain", "everything"):
                plays.append(Play(client, mode, server, "alone", stage.through(f"{path}/mcp")))
            if server.name in ("plain-web", "everything"):
                plays.append(Play(client, mode, server, "by stdio", stage.by_stdio(server)))
        if stage.sse and server.name in ("plain-web", "everything", "fixture-web"):
            plays.append(Play(client, "legacy", server, "by sse", stage.through(f"{path}/sse")))
    return plays


# What a connection adds to results, and what a newer revision does: callers need not see the server's own.
OF_THE_CONNECTION = ("resultType", "ttlMs", "cacheScope")
OF_THE_SERVER = "io.modelcontextprotocol/serverInfo"


def is_of_a_session(entry: object) -> bool:
    """Whether it is a resource that server-everything made for somebody: who shares a session sees those of others."""
    return isinstance(entry, dict) and str(entry.get("uri", "")).startswith("demo://resource/session/") and "name" in entry


def tidy(value: object, play: str) -> object:
    """Without what belongs to one connection, one moment or one play, and with numbers written in one way."""
    if isinstance(value, dict):
        found = {key: tidy(each, play) for key, each in value.items() if key not in OF_THE_CONNECTION}
        meta = found.get("_meta")
        if isinstance(meta, dict):
            meta.pop(OF_THE_SERVER, None)
            if not meta:
                del found["_meta"]
        return found
    if isinstance(value, list):
        return [tidy(each, play) for each in value if not is_of_a_session(each)]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str):
        return re.sub(r"created at [0-9:]+( [AP]M)?", "created at TIME", value).replace(play, "PLAY")
    return value


async def perform(client: str, plays: list[Play], stage: Stage) -> dict[str, dict]:
    """All plays of one client, in one process; by their ids, each with its outcomes made comparable."""
    command, _ = CLIENTS[client]
    player = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    words = json.dumps([play.as_json(stage.folder) for play in plays]).encode()
    try:
        out, err = await asyncio.wait_for(player.communicate(words), PLAYER)
    except TimeoutError:
        player.kill()
        await player.wait()
        return {}
    (stage.folder / f"player-{client}.log").write_bytes(err)
    told = map(json.loads, out.decode().strip().split("\n"))
    return {each["play"]: tidy(each, each["play"]) for each in told}


def compare(checks: Checks, play: Play, told: dict | None, reference: dict | None, folder: Path) -> None:
    """One play through the gateway against the one without it, or against what every step must give."""
    revision = "2025-11-25" if play.era() == "legacy" else "2026-07-28"
    if play.where == "by sse":
        revision = "2024-11-05"
    seen = told and (told.get("revision"), told.get("broken"))
    if not checks.equal(f"{play.title}: connects, and closes", seen, (revision, None)):
        return
    for number, step in enumerate(play.steps(folder)):
        outcome, what = told["outcomes"][number], f"{play.title}: {_scenes.title(step)}"
        expected = reference and reference["outcomes"].get(key(play, step))
        if expected is None:
            checks.that(f"{what} gives {step['gives']}", _scenes.contains(outcome, tidy(step["gives"], play.id)), outcome)
        else:
            other_era = reference["revision"][:4] != told["revision"][:4]
            seen, expected = heard_by(play, outcome), heard_by(play, expected)
            same(checks, what, *(without_tasks(each) if other_era else each for each in (seen, expected)))


def heard_by(play: Play, outcome: dict) -> dict:
    """Without what comes at a time of the server's own: its question for roots when it has started, and log lines of a
    level for which the client has not asked, and which servers send who offer no level to ask for.
    """
    asked = [each for each in outcome["asked"] if play.server.kind != "everything" or each[0] != "roots/list"]
    return {**outcome, "asked": asked, "heard": [each for each in outcome["heard"] if counts(play, each)]}


def without_tasks(value: object) -> object:
    """Without what clients of the newer revision do not read any more: whether a tool can run as a task of the older."""
    if isinstance(value, dict):
        return {key: without_tasks(each) for key, each in value.items() if key != "execution"}
    return [without_tasks(each) for each in value] if isinstance(value, list) else value


def counts(play: Play, heard: list) -> bool:
    if heard[0] == "log":
        return heard[1]["level"] != "debug"
    # The TypeScript client forgets who hears of progress as soon as it has read the result, which can come together
    # with the last of it.
    return play.client != "typescript" or heard[1] != heard[2]


def same(checks: Checks, what: str, seen: dict, expected: dict) -> None:
    seen, expected = ({**each, "result": without_pages(each.get("result"))} for each in (seen, expected))
    found = difference(seen, expected)
    checks.that(f"{what}: as the server gives it", found is None, found)


def difference(seen: object, expected: object, at: str = "") -> str | None:
    """The first place where two values differ, and what is there."""
    if isinstance(seen, dict) and isinstance(expected, dict):
        keys = sorted(seen.keys() | expected.keys())
        found = (difference(seen.get(key), expected.get(key), f"{at}.{key}") for key in keys)
        return next(filter(None, found), None)
    if isinstance(seen, list) and isinstance(expected, list) and len(seen) == len(expected):
        found = (difference(*pair, f"{at}[{place}]") for place, pair in enumerate(zip(seen, expected, strict=True)))
        return next(filter(None, found), None)
    if isinstance(seen, list) and isinstance(expected, list):
        strange = [each for each in seen if each not in expected]
        missing = [each for each in expected if each not in seen]
        return f"{at} has {len(seen)} instead of {len(expected)}; more: {shorten(strange)}; missing: {shorten(missing)}"
    return None if seen == expected else f"{at} is {shorten(seen)} instead of {shorten(expected)}"


def key(play: Play, step: dict) -> str:
    """By what a step is found again in another play of the same scene."""
    return json.dumps(tidy(step, play.id))


def without_pages(result: object) -> object:
    """How a list is cut into pages is the business of whoever gives it."""
    return {key: value for key, value in result.items() if key != "pages"} if isinstance(result, dict) else result


def reference_of(checks: Checks, play: Play, told: dict | None, folder: Path) -> dict | None:
    """What a server gives directly, after a look at whether it is what the scene says."""
    if not checks.that(f"{play.title}: works", bool(told) and not told.get("broken"), told):
        return None
    outcomes = {}
    for step, outcome in zip(play.steps(folder), told["outcomes"], strict=True):
        what = f"{play.title}: {_scenes.title(step)} gives {step['gives']}"
        checks.that(what, _scenes.contains(outcome, tidy(step["gives"], play.id)), outcome)
        outcomes[key(play, step)] = outcome
    return {**told, "outcomes": outcomes}


async def one_client(checks: Checks, client: str, stage: Stage) -> None:
    plays = plays_of(client, stage)
    told = await perform(client, plays, stage)
    if dump := os.environ.get("PAIRS_DUMP"):
        Path(dump, f"{client}.json").write_text(json.dumps(told, indent=1, ensure_ascii=False))
    references = {}
    for play in plays:
        seen = told.get(play.id)
        if play.where != "directly":
            reference = references.get((play.server.name, play.era()))
            if reference is None:
                others = [references.get((play.server.name, era)) for era in play.server.eras]
                reference = next(filter(None, others), None)
            compare(checks, play, seen, reference, stage.folder)
        elif play.in_vain:
            broken = bool(seen) and ("broken" in seen or not seen["outcomes"][0].get("result"))
            checks.that(f"{play.title}: fails, because they have no revision in common", broken, seen)
        else:
            references[play.server.name, play.era()] = reference_of(checks, play, seen, stage.folder)


def ready(checks: Checks, gateway: Gateway) -> list[Server]:
    """The servers that the gateway reaches."""

    def states() -> dict[str, str]:
        with contextlib.suppress(OSError):
            with urllib.request.urlopen(gateway.at("/ready"), timeout=5) as answer:
                return json.load(answer)["servers"]
        return {}

    eventually(lambda: all(state == "up" for state in states().values()) and states(), within=10)
    up = states()
    for server in SERVERS:
        checks.equal(f"{server.name}, a server by {server.way}, is up", up.get(server.name), "up")
    return [server for server in SERVERS if up.get(server.name) == "up"]


def has_sse_door(checks: Checks, gateway: Gateway) -> bool:
    seen = None
    with contextlib.suppress(OSError):
        with urllib.request.urlopen(gateway.at("/sse"), timeout=5) as answer:
            seen = answer.headers.get("Content-Type")
    return checks.that("the gateway has the door of 2024-11-05", bool(seen and "event-stream" in seen), seen)


async def main(checks: Checks, folder: Path) -> None:
    for name in FOLDERS:
        (folder / name).mkdir()
    home = folder / FOLDERS[0]
    (home / "hello.txt").write_text("hello file")
    (home / "dot.png").write_bytes(RED_DOT)
    with contextlib.ExitStack() as stack:
        urls = {each.name: stack.enter_context(each.start(folder)).url for each in SERVERS if each.way != "stdio"}
        servers = "\n".join(section(server, folder, urls) for server in SERVERS)
        gateway = stack.enter_context(Gateway(checks, folder / "up", servers, wait=False))
        stage = Stage(folder, urls, gateway, ready(checks, gateway), has_sse_door(checks, gateway))
        places = asyncio.Semaphore(2)

        async def in_its_place(client: str) -> None:
            async with places:
                with checks.group(f"{client} plays to the end"):
                    await one_client(checks, client, stage)

        async with asyncio.TaskGroup() as tasks:
            for client in os.environ.get("PAIRS_CLIENTS", "").split(",") if "PAIRS_CLIENTS" in os.environ else CLIENTS:
                tasks.create_task(in_its_place(client))


if __name__ == "__main__":
    run(main, within=240)
