"""Plays what another script wrote down: connections of one client to servers, and what it does on each.

Reads plays as JSON from stdin, and prints for each one line of JSON: what came back at every step, and what the client
heard meanwhile. It knows no package of MCP; `_play_mcp.py` and `_play_mcp_old.py` do, and `_play_typescript.mjs` does
the same in another language. `_scenes.py` says which steps there are.
"""

import json
import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import anyio

# Connections at once: enough that waits overlap, few enough that no server is slow because of it.
AT_ONCE = 3

# The longest that one step, or opening a connection, may take, in seconds.
STEP = 40.0

# How long a client waits for a notice that should come, in seconds, before it asks for it again; and how often.
NOTICE, TRIES = 2.0, 3


class Ear:
    """What a client hears beside its results, and what it answers when it is asked."""

    def __init__(self, play: dict) -> None:
        self.answers, self.roots = play["answers"], play["roots"]
        self.asked: list = []
        self.heard: list = []
        self.notices: list = []
        self.mark: Path | None = None

    def question(self, method: str, params: dict) -> dict:
        """The answer to a question of a server; which one it is depends on what is asked only."""
        params.pop("_meta", None)
        self.asked.append([method, params])
        if method == "roots/list":
            return {"roots": self.roots}
        if method == "sampling/createMessage":
            said = f"You said: {params['messages'][-1]['content']['text']}"
            return {"role": "assistant", "model": "parrot", "content": {"type": "text", "text": said}}
        if "decline" in params["message"]:
            return {"action": "decline"}
        properties = params.get("requestedSchema", {}).get("properties", {})
        content = {name: answer for name, answer in self.answers.items() if name in properties}
        return {"action": "accept", "content": content} if properties else {"action": "accept"}

    async def progress(self, done: float, total: float | None, message: str | None) -> None:
        self.heard.append(["progress", done, total, message])
        if self.mark:
            self.mark.touch()

    def log(self, params: dict) -> None:
        params.pop("_meta", None)
        self.heard.append(["log", params])

    async def until(self, holds: Callable[[], bool], within: float) -> bool:
        with anyio.move_on_after(within):
            while not holds():
                await anyio.sleep(0.01)
        return holds()


def plain(model) -> dict:
    """A result as it was on the wire."""
    return model.model_dump(by_alias=True, exclude_none=True, mode="json")


async def every_page(fetch: Callable[[str | None], Awaitable], what: str) -> dict:
    entries, pages, cursor = [], 0, None
    while pages == 0 or cursor is not None:
        page = plain(await fetch(cursor))
        entries += page[what]
        cursor, pages = page.get("nextCursor"), pages + 1
    return {"entries": entries, "pages": pages}


async def call(client, ear: Ear, step: dict) -> dict:
    ear.mark = Path(step["mark"]) if "mark" in step else None
    arguments = step.get("arguments", {})
    for _ in range(500):
        result = plain(await client.call(step["name"], arguments))
        if "until" not in step or result["content"][0]["text"] == step["until"]:
            break
        await anyio.sleep(0.01)
    return result


async def give_up(client, ear: Ear, step: dict) -> dict:
    """Gives a call up once something was heard of it: it must be under way, or there is nothing to give up."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(client.call, step["name"], step["arguments"])
        heard = await ear.until(lambda: bool(ear.heard), STEP)
        tasks.cancel_scope.cancel()
    return {"given": "up" if heard else "up too early"}


async def watch(client, ear: Ear, step: dict) -> dict:
    """Calls the tool that causes a notice; more than once, because some turn it off at every second call."""
    wanted = step["notice"]
    async with client.watching(wanted):
        for _ in range(TRIES):
            await client.call(step["name"], step.get("arguments", {}))
            if await ear.until(lambda: wanted in ear.notices, NOTICE):
                return {"notice": wanted}
    return {"notice": None}


async def do(client, ear: Ear, step: dict) -> dict:
    match step["do"]:
        case "list":
            return await every_page(lambda cursor: client.page(step["what"], cursor), step["what"])
        case "call":
            return await call(client, ear, step)
        case "read":
            return plain(await client.session.read_resource(step["uri"]))
        case "prompt":
            return plain(await client.session.get_prompt(step["name"], step.get("arguments")))
        case "complete":
            return plain(await client.complete(step["ref"], step["argument"], step.get("context")))
        case "ping":
            return plain(await client.session.send_ping())
        case "give up":
            return await give_up(client, ear, step)
        case "watch":
            return await watch(client, ear, step)
        case other:
            raise ValueError(f"no step is called {other}")


def first_cause(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def as_outcome(error: BaseException) -> dict:
    error = first_cause(error)
    inner = getattr(error, "error", None)
    if inner is None:
        return {"failed": f"{type(error).__name__}: {error}"}
    return {"error": plain(inner)}


async def one_step(client, ear: Ear, step: dict) -> dict:
    ear.asked, ear.heard, ear.notices = [], [], []
    try:
        with anyio.fail_after(STEP):
            outcome = {"result": await do(client, ear, step)}
    except Exception as error:
        outcome = as_outcome(error)
    await ear.until(lambda: len(ear.heard) >= step.get("heard", 0), NOTICE)
    return {**outcome, "asked": ear.asked, "heard": ear.heard}


async def one_play(connect: Callable[[dict, Ear], AbstractAsyncContextManager], play: dict) -> dict:
    ear, told, outcomes = Ear(play), {}, []
    try:
        async with connect(play, ear) as client:
            told = {"revision": client.revision, "capabilities": client.capabilities, "instructions": client.words}
            for step in play["steps"]:
                outcomes.append(await one_step(client, ear, step))
    except Exception as error:
        # What fails after the last step is the end of the connection, which counts as well.
        told["broken"] = as_outcome(error)
    return {"play": play["play"], **told, "outcomes": outcomes}


async def main(connect: Callable[[dict, Ear], AbstractAsyncContextManager]) -> None:
    places = anyio.CapacityLimiter(AT_ONCE)

    async def in_its_place(play: dict) -> None:
        async with places:
            with anyio.move_on_after(play["within"]) as scope:
                print(json.dumps(await one_play(connect, play)), flush=True)
            if scope.cancelled_caught:
                late = {"failed": f"it did not end within {play['within']} s"}
                print(json.dumps({"play": play["play"], "broken": late, "outcomes": []}), flush=True)

    async with anyio.create_task_group() as tasks:
        for play in json.load(sys.stdin):
            tasks.start_soon(in_its_place, play)
