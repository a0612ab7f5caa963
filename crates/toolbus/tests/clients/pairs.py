"""Real clients and real servers, each with each: what a client sees through the gateway is what it sees without it.

The clients are the Python package `mcp` 2.x and the TypeScript client, in three modes each, and `mcp` 1.x. Each plays
the steps of `_scenes.py` with each server, directly where both know a common revision, and through the doors of one
gateway; the outcomes must be equal but for what `_compare.py` leaves out. Where the two have no revision in common, it
must fail directly and work through the gateway.

    pairs.py [CLIENT...]

PAIRS_DUMP, where it is set, is a folder that gets what each client saw.
"""

import asyncio
import contextlib
import json
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path

import _scenes
from _compare import across_eras, comparable, difference, tidy
from _plays import CLIENTS, Client, Play, Stage
from _servers import SERVERS, Server, started
from _support import Checks, Gateway, eventually, run

# Players at once.
AT_ONCE = 2

# Whether all calls go through the dialect of 2026-07-28 on their way, also between two that know each other's revision.
ONE_DIALECT = False


def gives(checks: Checks, play: Play, step: dict, outcome: dict) -> None:
    wanted = tidy(step["gives"], play.id)
    text = json.dumps(outcome, ensure_ascii=False)
    checks.that(f"{play.title}: {_scenes.title(step)} gives {wanted}", wanted in text, outcome)


def without_the_gateway(checks: Checks, play: Play, told: dict | None, folder: Path) -> dict | None:
    """What a server gives directly, by the names of the steps, after a look at whether it is what the scene says."""
    if not checks.that(f"{play.title}: works", bool(told) and not told.get("broken"), told):
        return None
    outcomes = {}
    for (name, step), outcome in zip(play.named_steps(folder), told["outcomes"], strict=True):
        gives(checks, play, step, outcome)
        outcomes[name] = outcome
        if play.client.name != "typescript":
            heard = len(outcome["heard"]) >= step.get("heard", 0)
            checks.that(f"{play.title}: {_scenes.title(step)}, with its notices", heard, outcome)
        if step.get("paged"):
            checks.that(f"{play.title}: {_scenes.title(step)} has pages", outcome["result"]["pages"] > 1, outcome)
    return {**told, "outcomes": outcomes}


def nothing_in_common(checks: Checks, play: Play, told: dict | None) -> None:
    """It must fail, or what is bridged here would need no bridge."""
    failed = bool(told) and ("broken" in told or "result" not in told["outcomes"][0])
    checks.that(f"{play.title}: fails, because they have no revision in common", failed, told)


def through_the_gateway(checks: Checks, play: Play, told: dict | None, references: list[dict], folder: Path) -> None:
    """Against what the same client saw directly, in one of its eras, or against what each step must give."""
    seen = told and ((told.get("revision") or "")[:4], told.get("broken"))
    if not checks.equal(f"{play.title}: works", seen, ("2025" if play.era == "legacy" else "2026", None)):
        return
    for (name, step), outcome in zip(play.named_steps(folder), told["outcomes"], strict=True):
        expected = [(each["revision"][:4], each["outcomes"][name]) for each in references if name in each["outcomes"]]
        if not expected:
            gives(checks, play, step, outcome)
            continue
        found = [unlike(play, (told["revision"][:4], outcome), other) for other in expected]
        checks.that(f"{play.title}: {_scenes.title(step)}, as the server gives it", None in found, found[0])
    # A client that pins its revision does not ask what the server has.
    if references and play.mode != "modern":
        offers(checks, play, told, references[0])


def unlike(play: Play, seen: tuple[str, dict], expected: tuple[str, dict]) -> str | None:
    """What is different in an outcome, each with the year of its revision."""
    # A child that others are calling meanwhile, too.
    shared = play.server.way == "stdio" and play.where != "by stdio"
    pair = [comparable(each, play.client.name, play.server.kind, shared) for _, each in (seen, expected)]
    if play.server.kind == "everything" and ["roots/list", {}] in seen[1]["asked"]:
        # It asked in the middle of the call, as it happens. Until a newer client came back with the answer there was
        # nobody to hear of progress.
        pair = [{**each, "heard": None} for each in pair]
    if ONE_DIALECT or seen[0] != expected[0]:
        pair = [across_eras(each) for each in pair]
    return difference(*pair)


def offers(checks: Checks, play: Play, told: dict, reference: dict) -> None:
    """What the server says of itself when it is met."""
    # Tasks were something else in 2025-11-25, and are an extension now: neither is for the clients of the other era.
    # What is experimental is between two that know each other.
    wanted = set(reference["capabilities"]) - {"tasks", "extensions", "experimental"}
    missing = wanted - set(told["capabilities"])
    checks.that(f"{play.title}: no capability of the server is missing", not missing, missing)
    words = reference.get("instructions")
    checks.equal(f"{play.title}: its instructions", told.get("instructions") if words else words, words)


def together(checks: Checks, play: Play, told: dict | None, references: dict, up: list[Server]) -> None:
    """Every tool of every server is there, under the name of its server."""
    expected = set()
    for server in up:
        reference = references.get((server.name, server.eras[0])) or references.get((server.name, server.eras[-1]))
        if reference is None:
            # Not every client has met every server.
            return
        tools = next(outcome for name, outcome in reference["outcomes"].items() if '"what": "tools"' in name)
        expected |= {f"{server.name}_{tool['name']}" for tool in tools["result"]["entries"]}
    seen = {tool["name"] for tool in told["outcomes"][0]["result"]["entries"]}
    found = difference(sorted(seen), sorted(expected))
    checks.that(f"{play.title}: all tools of all servers", found is None, found)


async def one_client(checks: Checks, client: Client, stage: Stage) -> None:
    plays = stage.plays(client)
    seen = await client.perform(plays, stage.folder)
    if folder := os.environ.get("PAIRS_DUMP"):
        Path(folder, f"{client.name}.json").write_text(json.dumps(seen, indent=1, ensure_ascii=False))
    references = {}
    for play in plays:
        told = seen.get(play.id)
        if play.in_vain:
            nothing_in_common(checks, play, told)
        elif play.where == "directly":
            references[play.server.name, play.era] = without_the_gateway(checks, play, told, stage.folder)
        else:
            # The gateway speaks the caller's era to a server that knows both, where it can.
            eras = dict.fromkeys((play.era, "legacy", "modern"))
            known = list(filter(None, (references.get((play.server.name, era)) for era in eras)))
            through_the_gateway(checks, play, told, known, stage.folder)
        if play.where == "together" and told and told["outcomes"]:
            together(checks, play, told, references, stage.up)


def ready(checks: Checks, gateway: Gateway) -> list[Server]:
    """The servers that the gateway reaches."""

    def states() -> dict[str, str]:
        with contextlib.suppress(OSError):
            try:
                answer = urllib.request.urlopen(gateway.at("/ready"), timeout=5)
            except urllib.error.HTTPError as error:
                # Not all of them, but it says which.
                answer = error
            with answer:
                return json.load(answer)["servers"]
        return {}

    eventually(lambda: len(states()) == len(SERVERS) and set(states().values()) == {"up"})
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
    wanted = [client for client in CLIENTS if not sys.argv[1:] or client.name in sys.argv]
    with started(folder) as urls:
        sections = "\n".join(server.section(folder, urls) for server in SERVERS)
        # Who holds a name that several have depends on who is up in time, where it is much that starts at once.
        settings = "prefix_names = true"
        with Gateway(checks, folder / "up", sections, wait=False, settings=settings) as gateway:
            stage = Stage(folder, urls, gateway.at, ready(checks, gateway), has_sse_door(checks, gateway))
            places = asyncio.Semaphore(AT_ONCE)

            async def in_its_place(client: Client) -> None:
                async with places:
                    with checks.group(f"{client.name} plays to the end"):
                        await one_client(checks, client, stage)

            async with asyncio.TaskGroup() as tasks:
                for client in wanted:
                    tasks.create_task(in_its_place(client))


if __name__ == "__main__":
    run(main, within=330)
