"""The command line of MCP Inspector in its three eras: with a server of both eras directly and through the gateway, and
through the gateway with servers that do not know its revisions.
"""

import asyncio
import json
import os
from pathlib import Path

from _compare import difference, tidy
from _servers import NODE, SERVERS, started
from _support import TOOLBUS, TOOLS, Checks, Gateway, run

ERAS = ("legacy", "auto", "modern")

# Processes at once.
AT_ONCE = 3

# What is asked of the server of both eras, and text that must be in the answer.
QUESTIONS = [
    (["tools/list"], '"was_given_up"'),
    (["tools/call", "--tool-name", "weather", "--tool-args-json", '{"city":"Zürich \\"x\\""}'], '"celsius": -0.5'),
    (["resources/read", "--uri", "plain-web://items/7"], "item 7 of plain-web"),
    (["prompts/get", "--prompt-name", "greet", "--prompt-args", "person=Ada"], "Greet Ada from plain-web."),
]

BEHIND = ("plain-web", "everything", "fixture-web")


class Inspector:
    """Starts it, with a home of its own, so that it finds and leaves nothing elsewhere."""

    def __init__(self, folder: Path) -> None:
        self.environment = {**os.environ, "HOME": str(folder / "home"), "NO_COLOR": "1"}
        self.places = asyncio.Semaphore(AT_ONCE)

    async def ask(self, target: list[str], era: str, question: list[str]) -> object:
        """The answer, or what it says instead of one."""
        words = ["--cli", "--protocol-era", era, "--method", *question, "--format", "json", "-q", *target]
        async with self.places, asyncio.timeout(60):
            pipe = asyncio.subprocess.PIPE
            command = [NODE, str(TOOLS / "mcp-inspector"), *words]
            process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe, env=self.environment)
            try:
                out, err = await process.communicate()
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
        if process.returncode:
            return {"status": process.returncode, "said": err.decode()}
        return tidy(json.loads(out), "no play")


def at(url: str, transport: str = "http") -> list[str]:
    return ["--transport", transport, "--server-url", url]


def gives(checks: Checks, what: str, seen: object, wanted: str) -> None:
    checks.that(f"{what} gives {wanted}", wanted in json.dumps(seen, ensure_ascii=False), seen)


async def both_ways(checks: Checks, inspector: Inspector, era: str, direct: str, through: str) -> None:
    """The same questions to the same server, with and without the gateway."""

    async def compare(question: list[str], wanted: str) -> None:
        what = f"{era}: {' '.join(question[:3])}"
        seen, expected = await asyncio.gather(
            inspector.ask(at(through), era, question), inspector.ask(at(direct), era, question)
        )
        gives(checks, f"{what}, directly,", expected, wanted)
        found = difference(seen, expected)
        checks.that(f"{what}, as the server gives it", found is None, found)

    async with asyncio.TaskGroup() as tasks:
        # What `auto` finds is one of the others.
        for question, wanted in QUESTIONS[:2] if era == "auto" else QUESTIONS:
            tasks.create_task(compare(question, wanted))


async def across(checks: Checks, inspector: Inspector, gateway: Gateway, urls: dict[str, str]) -> None:
    """A server that knows the other era only: not directly, but through the gateway."""
    text = ["tools/call", "--tool-name", "test_simple_text", "--tool-args-json", "{}"]
    echo = ["tools/call", "--tool-name", "echo", "--tool-args-json", '{"message":"hello"}']
    direct = await inspector.ask(at(urls["fixture-web"]), "legacy", text)
    checks.that("legacy: a server of the newer era fails directly", "said" in direct, direct)
    seen = await inspector.ask(at(gateway.server_url("fixture-web")), "legacy", text)
    gives(checks, "legacy: a server of the newer era", seen, "simple text")
    direct = await inspector.ask(at(urls["everything-web"]), "modern", echo)
    checks.that("modern: a server of the older era fails directly", "said" in direct, direct)
    for era in ("auto", "modern"):
        seen = await inspector.ask(at(gateway.server_url("everything")), era, echo)
        gives(checks, f"{era}: a server of the older era", seen, "Echo: hello")


async def other_doors(checks: Checks, inspector: Inspector, gateway: Gateway, config: Path) -> None:
    echo = ["tools/call", "--tool-name", "echo", "--tool-args-json", '{"message":"hello"}']
    seen = await inspector.ask(at(gateway.url), "legacy", ["tools/call", "--tool-name", "no_such_tool"])
    gives(checks, "legacy: an unknown tool", seen, "tool_not_found")
    gives(checks, "by sse", await inspector.ask(at(gateway.at("/sse"), "sse"), "legacy", echo), "Echo: hello")
    for era in ("legacy", "modern"):
        state = ["-e", f"XDG_STATE_HOME={config.parent}"]
        target = [*state, "--", TOOLBUS, "stdio", str(config)]
        gives(checks, f"by stdio, {era}", await inspector.ask(target, era, echo), "Echo: hello")


async def main(checks: Checks, folder: Path) -> None:
    (folder / "home").mkdir()
    behind = [server for server in SERVERS if server.name in BEHIND]
    with started(folder, [*BEHIND, "everything-web"]) as urls:
        inspector = Inspector(folder)
        sections = "\n".join(server.section(folder, urls) for server in behind)
        (folder / "stdio").mkdir()
        config = folder / "stdio" / "toolbus.toml"
        config.write_text(next(server.section(folder, urls) for server in behind if server.name == "everything"))
        with Gateway(checks, folder / "up", sections) as gateway:
            for era in ERAS:
                with checks.group(era):
                    await both_ways(checks, inspector, era, urls["plain-web"], gateway.server_url("plain-web"))
            with checks.group("across the eras"):
                await across(checks, inspector, gateway, urls)
            with checks.group("the other doors"):
                await other_doors(checks, inspector, gateway, config)


if __name__ == "__main__":
    run(main, within=150)
