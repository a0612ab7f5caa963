"""What the README of examples/quickstart says to type, typed from the top of the checkout."""

import json
import os
import subprocess
from pathlib import Path

from _support import PYTHON, ROOT, TOOLBUS, Checks, Gateway, run

FOLDER = "examples/quickstart"
CONFIG = f"{FOLDER}/toolbus.toml"


async def main(checks: Checks, folder: Path) -> None:
    environment = {**os.environ, "XDG_STATE_HOME": str(folder)}

    def typed(*command: str) -> subprocess.CompletedProcess:
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)

    checked = typed(TOOLBUS, "check", CONFIG)
    checks.equal("check finds nothing", (checked.returncode, checked.stderr), (0, ""))

    doctor = typed(TOOLBUS, "doctor", CONFIG)
    well = [line.split(":")[0] for line in doctor.stdout.splitlines()]
    checks.equal("doctor finds both servers well", (doctor.returncode, well), (0, ["ok    math", "ok    everything"]))

    tools = typed(TOOLBUS, "tools", FOLDER)
    names = [line.split()[0] for line in tools.stdout.splitlines()]
    expected = {"math.add", "math.text_statistics", "math.count_primes", "everything.echo"}
    checks.that("tools lists those of both, also by the folder", expected <= set(names), tools)

    added = typed(TOOLBUS, "call", CONFIG, "math.add", "a=1", "b=2")
    checks.equal("call prints the result alone", (added.returncode, added.stdout, added.stderr), (0, "3\n", ""))
    counted = typed(TOOLBUS, "call", CONFIG, "math.text_statistics", "text=@LICENSE", "--json")
    seen = json.loads(counted.stdout)["structuredContent"]["lines"]
    lines = len((ROOT / "LICENSE").read_text().splitlines())
    checks.equal("call takes an argument from a file", seen, lines)
    primes = typed(TOOLBUS, "call", CONFIG, "math.count_primes", "limit=1000")
    checks.equal("progress is no part of the result", (primes.returncode, primes.stdout), (0, "168\n"))
    told = primes.stderr.splitlines()
    checks.that("it goes to stderr", len(told) == 4 and "168 primes up to 1000" in told[-1], told)
    refused = typed(TOOLBUS, "call", CONFIG, "math.count_primes", "limit=1")
    told = "limit must be between" in refused.stdout + refused.stderr
    checks.that("a failure of a tool is told, and is status 1", refused.returncode == 1 and told, refused)
    unknown = typed(TOOLBUS, "call", CONFIG, "math.subtract")
    told = "text_statistics" in unknown.stderr
    checks.that("an unknown tool is status 2, and the known ones are named", unknown.returncode == 2 and told, unknown)

    with Gateway(checks, folder / "up", (ROOT / CONFIG).read_text()) as gateway:
        for mode in ("2026-07-28", "legacy", "auto"):
            client = typed(PYTHON, f"{FOLDER}/client.py", gateway.url, mode)
            checks.that(f"client.py in mode {mode} gets what it expects", client.returncode == 0, client)
        called = typed(TOOLBUS, "call", "--url", gateway.url, "math.add", "a=1", "b=2")
        checks.equal("call asks a running gateway too", (called.returncode, called.stdout), (0, "3\n"))
    away = typed(PYTHON, f"{FOLDER}/client.py", gateway.url)
    told = away.returncode == 1 and "does `toolbus up` run there?" in away.stderr and "Traceback" not in away.stderr
    checks.that("client.py says what to do where there is no gateway", told, away)


if __name__ == "__main__":
    run(main, within=180)
