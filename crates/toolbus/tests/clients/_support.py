"""What the scripts in this folder share: a gateway with a folder of its own, and checks that are told one by one."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
from mcp.client.stdio import StdioServerParameters, stdio_client

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[3]
TOOLBUS = os.environ.get("TOOLBUS") or sys.exit("TOOLBUS must hold the path of the toolbus to test")
PYTHON = sys.executable
TOOLS = ROOT / ".tools/node_modules/.bin"

# The modes of the Python clients, and the revision that a connection has in each.
MODES = {"auto": "2026-07-28", "legacy": "2025-11-25", "2026-07-28": "2026-07-28"}

# Starts and stops take a second or two; this long they take only on a machine that does much else.
PATIENCE = 30.0


class Expected:
    """The checks of one script that may fail for now, of `expected-failures.toml`: the list must only shrink."""

    def __init__(self) -> None:
        listed = tomllib.loads((HERE / "expected-failures.toml").read_text())
        self.entries = [(one["checks"], one["reason"]) for one in listed.get(Path(sys.argv[0]).stem, [])]
        self.seen = set()

    def reason(self, what: str) -> str | None:
        for pattern, reason in self.entries:
            # Not fnmatch, to which brackets mean something.
            if re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), what):
                self.seen.add(pattern)
                return reason
        return None

    def unseen(self) -> list[str]:
        return [pattern for pattern, _ in self.entries if pattern not in self.seen]


class Checks:
    """Counts what held and what did not, one line each."""

    def __init__(self) -> None:
        self.passed = 0
        self.failed = 0
        self.expected = Expected()

    def that(self, what: str, holds: bool, seen: object = None) -> bool:
        reason = self.expected.reason(what)
        if reason and not holds:
            print(f"known {what}: {reason}; saw {shorten(seen)}", flush=True)
        elif reason:
            self.failed += 1
            print(f"FAIL  {what}: it holds; take it from the list of those that may fail", flush=True)
        elif holds:
            self.passed += 1
            print(f"ok    {what}", flush=True)
        else:
            self.failed += 1
            print(f"FAIL  {what}: saw {shorten(seen)}", flush=True)
        return holds

    def equal(self, what: str, seen: object, expected: object) -> bool:
        return self.that(what, seen == expected, f"{shorten(seen)} instead of {shorten(expected)}")

    @contextlib.contextmanager
    def group(self, what: str) -> Iterator[None]:
        """Whatever is raised inside fails one check, and the checks after it still run."""
        try:
            yield
        except Exception as error:
            self.that(what, False, first_cause(error))


def shorten(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 600 else f"{text[:600]}... ({len(text)} characters)"


def first_cause(error: BaseException) -> BaseException:
    """The first error inside the groups that task groups wrap around it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def run(main: Callable[[Checks, Path], object], within: int) -> None:
    """Runs a script's checks in a folder of their own, within a bound in seconds, and ends the process."""

    def late(*_: object) -> None:
        raise TimeoutError(f"the checks did not end within {within} s")

    checks, begun = Checks(), time.monotonic()
    signal.signal(signal.SIGALRM, late)
    signal.alarm(within)
    with tempfile.TemporaryDirectory(prefix="toolbus-clients-") as folder:
        with checks.group("the checks run to their end"):
            anyio.run(main, checks, Path(folder))
    signal.alarm(0)
    if not sys.argv[1:]:
        unseen = checks.expected.unseen()
        checks.that("what may fail is still looked at", not unseen, unseen)
    print(f"{checks.passed} passed, {checks.failed} failed, {time.monotonic() - begun:.1f} s")
    sys.exit(1 if checks.failed or not checks.passed else 0)


def eventually(holds: Callable[[], bool], within: float = PATIENCE) -> bool:
    until = time.monotonic() + within
    while not holds():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def stdio_server(name: str, command: list[str], extra: str = "") -> str:
    """A section of the configuration; a JSON string is a TOML string too."""
    return f"[servers.{name}.stdio]\ncommand = {json.dumps(command)}\n{extra}\n"


def python_server(name: str, package: str) -> str:
    return stdio_server(name, [PYTHON, str(HERE / "_server.py"), package, "stdio", name])


def everything_server(name: str, extra: str = "") -> str:
    return stdio_server(name, [str(TOOLS / "node"), str(TOOLS / "mcp-server-everything"), "stdio"], extra)


def http_server(name: str, url: str) -> str:
    return f"[servers.{name}.http]\nurl = {json.dumps(url)}\n"


class Process:
    """A server that prints its URL; it is killed when it is left."""

    def __init__(self, command: list[str], folder: Path, name: str, env: dict[str, str] | None = None) -> None:
        self.log = folder / f"{name}.log"
        with self.log.open("ab") as log:
            self.child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, **(env or {})},
            )
        self.url = self.child.stdout.readline().decode().strip()
        if not self.url.startswith("http://"):
            self.child.kill()
            self.child.wait()
            raise RuntimeError(f"{name} printed {self.url!r} instead of its URL; {self.last_words()}")

    def last_words(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()
        return "its log ends: " + "\n".join(lines[-15:])

    def kill(self) -> None:
        self.child.kill()
        self.child.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


def python_http(name: str, package: str, folder: Path, port: int = 0) -> Process:
    """A server of this folder on HTTP, at a free port or the one that is given."""
    return Process([PYTHON, str(HERE / "_server.py"), package, "http", name, str(port)], folder, name)


class Gateway(Process):
    """`toolbus up` with these servers; when it is left, it must end well, with all that it started."""

    def __init__(
        self,
        checks: Checks,
        folder: Path,
        servers: str,
        env: dict[str, str] | None = None,
        wait: bool = True,
        settings: str = "",
    ) -> None:
        self.checks, self.folder = checks, folder
        folder.mkdir(exist_ok=True)
        config = folder / "up.toml"
        config.write_text(f'[gateway]\nlisten = "127.0.0.1:0"\n{settings}\n\n{servers}')
        environment = {"XDG_STATE_HOME": str(folder), **(env or {})}
        super().__init__([TOOLBUS, "up", str(config)], folder, "up", environment)
        if wait and not eventually(self.is_ready):
            self.kill()
            raise RuntimeError(f"the gateway was not ready in time; {self.last_words()}")

    def at(self, path: str) -> str:
        return self.url.removesuffix("/mcp") + path

    def server_url(self, name: str) -> str:
        return self.at(f"/servers/{name}/mcp")

    def is_ready(self) -> bool:
        with contextlib.suppress(OSError):
            with urllib.request.urlopen(self.at("/ready"), timeout=5) as answer:
                return all(state == "up" for state in json.load(answer)["servers"].values())
        return False

    def records(self) -> list[dict]:
        return records(self.folder)

    def __exit__(self, kind: type | None, *_: object) -> None:
        below = descendants(self.child.pid)
        self.child.terminate()
        try:
            code = self.child.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            code = f"none within {PATIENCE} s"
            self.kill()
        if kind is None:
            self.checks.equal("toolbus up ends with status 0 when asked to", code, 0)
            gone = eventually(lambda: not any(map(is_running, below)), within=2)
            self.checks.that("and nothing that it started is left", gone, below)
            every_call_has_its_record(self.checks, self.folder)
        else:
            print(self.last_words())


def stdio_door(folder: Path, servers: str):
    """`toolbus stdio` with these servers, as a transport of the Python client; its log goes to a file."""
    folder.mkdir(exist_ok=True)
    config = folder / "stdio.toml"
    config.write_text(servers)
    parameters = StdioServerParameters(
        command=TOOLBUS,
        args=["stdio", str(config)],
        env={"XDG_STATE_HOME": str(folder)},
    )
    return stdio_client(parameters, errlog=(folder / "stdio.log").open("a"))


def lines_of_audit(folder: Path) -> list[dict]:
    path = folder / "toolbus/audit.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def records(folder: Path) -> list[dict]:
    return [line for line in lines_of_audit(folder) if line["event"] == "call"]


def every_call_has_its_record(checks: Checks, folder: Path) -> None:
    """Exactly one record for each call that was opened."""
    lines = lines_of_audit(folder)
    opened = sorted(line["callId"] for line in lines if line["event"] == "open")
    closed = sorted(line["callId"] for line in lines if line["event"] == "call")
    checks.that(
        f"the audit has exactly one record for each of {len(opened)} calls",
        bool(opened) and opened == closed,
        f"{len(opened)} opened, {len(closed)} records, {len(set(closed))} different",
    )


def descendants(pid: int) -> list[int]:
    found = [pid]
    for parent in found:
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found.extend(map(int, children.read_text().split()))
    return found[1:]


def is_running(pid: int) -> bool:
    """A zombie is not, once all its threads are: until then one of them can still read."""
    states = []
    for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
        with contextlib.suppress(OSError):
            states.append(stat.read_text().rpartition(") ")[2][0])
    return any(state not in "ZX" for state in states)
