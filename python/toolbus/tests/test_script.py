"""`python -m toolbus.script`: one tool for each process."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from _peer import written

SOURCE = '''
import asyncio, os, subprocess, sys
from pathlib import Path
from toolbus import Context

def add(a: int, b: int) -> int:
    """Adds."""
    print("noise")
    os.write(1, b"more noise")
    return a + b

def steps(ctx: Context) -> str:
    """Says how far it is."""
    ctx.report_progress(1, 2, "half")
    ctx.heartbeat()
    ctx.warning("careful")
    return "done"

def fail() -> None:
    """Fails."""
    raise ValueError("no such thing")

async def wait(mark: str) -> None:
    """Waits until it is stopped."""
    try:
        Path(mark).with_suffix(".begun").touch()
        await asyncio.sleep(600)
    finally:
        Path(mark).touch()

async def ask(ctx: Context) -> str:
    """Asks."""
    return str(await ctx.elicit("Really?", bool))
'''


def run(*arguments: object, given: str = "{}", side: int | None = None) -> subprocess.CompletedProcess[str]:
    """Runs it to its end; `side` becomes its descriptor 3."""
    command = [sys.executable, "-m", "toolbus.script", *map(str, arguments)]
    if side is not None:
        command = ["sh", "-c", f'exec "$@" 3>/dev/fd/{side}', "sh", *command]
    fds = (side,) if side is not None else ()
    return subprocess.run(command, input=given, capture_output=True, text=True, timeout=60, pass_fds=fds)


def result(done: subprocess.CompletedProcess[str]) -> Any:
    """Its stdout, which is one JSON value."""
    assert done.returncode == 0, done
    return json.loads(done.stdout)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with tools."""
    return written(tmp_path, SOURCE)


def test_a_tool_is_run_and_nothing_garbles_its_result(file: Path) -> None:
    """Whatever a tool prints goes to stderr."""
    done = run(file, "add", given='{"a": 2, "b": 3}')
    assert result(done) == {"content": [{"type": "text", "text": "5"}], "structuredContent": {"result": 5}}
    assert "noise" in done.stderr and "more noise" in done.stderr


def test_the_tools_are_listed_with_their_files(file: Path) -> None:
    """Files beside it that it imports are told, so that they can be followed."""
    (file.parent / "helper.py").write_text("")
    file.write_text("import helper\nimport json\n" + SOURCE)
    listed = result(run(file, "--list"))
    assert [tool["name"] for tool in listed["tools"]] == ["add", "steps", "fail", "wait", "ask"]
    assert listed["files"] == sorted([os.path.realpath(file), os.path.realpath(file.parent / "helper.py")])


def test_signs_of_life_go_to_descriptor_3(file: Path) -> None:
    """One JSON line each; without the descriptor, nothing."""
    reader, writer = os.pipe()
    done = run(file, "steps", side=writer)
    os.close(writer)
    with open(reader) as lines:
        events = [json.loads(line) for line in lines]
    assert result(done)["content"][0]["text"] == "done"
    assert events[0] == {"progress": 1, "total": 2, "message": "half"}
    assert events[1] == {"heartbeat": True}
    assert events[2]["log"]["data"] == "careful"
    assert result(run(file, "steps"))["content"][0]["text"] == "done"


def test_failures_are_results_or_have_a_status(file: Path) -> None:
    """What a tool raises is a result; where nothing ran, the contract of scripts holds."""
    failed = result(run(file, "fail"))
    assert failed["isError"] and "no such thing" in failed["content"][0]["text"]
    unknown = result(run(file, "nothing"))
    assert unknown["isError"] and "unknown tool 'nothing'" in unknown["content"][0]["text"]
    asked = result(run(file, "ask"))
    assert asked["isError"] and "A script cannot" in asked["content"][0]["text"]
    for arguments, given, why in [
        ((file, "add"), "[]", "stdin must hold one JSON object"),
        ((file, "add"), "{", ""),
        ((file.parent / "none.py", "add"), "{}", "is no file"),
    ]:
        done = run(*arguments, given=given)
        told = json.loads(done.stdout)
        assert done.returncode == 1 and told["success"] is False and why in told["error"], done
    assert run(file).returncode == 2


def test_a_function_that_is_stopped_cleans_up(file: Path, tmp_path: Path) -> None:
    """SIGTERM cancels it."""
    mark = tmp_path / "ended"
    command = [sys.executable, "-m", "toolbus.script", str(file), "wait"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert process.stdin is not None
    process.stdin.write(json.dumps({"mark": str(mark)}).encode())
    process.stdin.close()
    try:
        _wait_for(mark.with_suffix(".begun"))
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 128 + signal.SIGTERM
    finally:
        process.kill()
        process.wait()
    assert mark.exists()


def _wait_for(path: Path) -> None:
    import time

    until = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < until, f"no {path}"
        time.sleep(0.02)
