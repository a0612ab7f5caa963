"""What a tool tells its caller meanwhile, and how it learns that nobody waits."""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from _peer import CAPABILITIES, LEVEL, PATIENCE, VERSION, Host, Peer, environment, written

SOURCE = '''
    import asyncio, pathlib, time
    from toolbus import Context, Worker

    worker = Worker("context", threads=2)
    trace = pathlib.Path(__file__).with_name("trace")

    def note(what):
        with trace.open("a") as file:
            print(what, file=file)

    @worker.tool()
    async def steps(ctx: Context, n: int) -> str:
        for i in range(n):
            await ctx.report_progress(i + 1, n, f"step {i + 1}")
        ctx.report_progress(n, n, "the same again")
        ctx.report_progress(0)
        return "done"

    @worker.tool()
    def steps_in_thread(ctx: Context, n: int) -> str:
        for i in range(n):
            ctx.report_progress(i + 1)
        return "done"

    @worker.tool()
    async def say(ctx: Context) -> str:
        ctx.debug("quiet")
        ctx.info({"a": 1})
        ctx.warning(object)
        ctx.log("error", "loud", logger="own")
        return str(ctx.meta["x/y"]) + str(ctx.request_id)

    @worker.tool()
    async def flood(ctx: Context, n: int) -> str:
        for i in range(n):
            ctx.error("x" * 1000)
        return "done"

    @worker.tool()
    async def sleep(name: str) -> str:
        note(f"begin {name}")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            note(f"cancelled {name}")
            raise
        return "slept"

    @worker.tool()
    async def stubborn() -> str:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            note("stubborn")
        return "late"

    @worker.tool()
    def work(ctx: Context, name: str) -> str:
        note(f"begin {name}")
        try:
            while True:
                try:
                    ctx.check_cancelled()
                except Exception:
                    pass
                time.sleep(0.01)
        finally:
            note(f"cancelled {name} {ctx.cancelled}")

    @worker.tool(timeout=0.5)
    async def late() -> str:
        await asyncio.sleep(60)
        return ""

    @worker.tool(timeout=0.5)
    def late_in_thread(ctx: Context) -> str:
        while not ctx.cancelled:
            time.sleep(0.01)
        note("gave up")
        return ""

    @worker.tool(timeout=30)
    async def own_timeout() -> str:
        async with asyncio.timeout(0.01):
            await asyncio.sleep(1)
        return ""

    @worker.tool()
    async def cancels_itself() -> str:
        raise asyncio.CancelledError()

    @worker.tool()
    async def echo(text: str) -> str:
        return text

    @worker.tool()
    async def quick() -> str:
        return "quick"
'''

Serve = Callable[[str], Peer]


def wait_for(trace: Path, line: str) -> None:
    """Waits until a tool has noted this."""
    until = time.monotonic() + PATIENCE
    while not trace.exists() or line not in trace.read_text().splitlines():
        assert time.monotonic() < until, f"no {line!r} in {trace.read_text() if trace.exists() else 'nothing'}"
        time.sleep(0.01)


def cancel(peer: Peer, id: int) -> None:
    """Says that nobody waits."""
    peer.send({"method": "notifications/cancelled", "params": {"requestId": id}})


@pytest.mark.parametrize("tool", ["steps", "steps_in_thread"])
def test_progress_goes_to_whoever_asked_for_it(serve: Serve, tool: str) -> None:
    peer = serve(SOURCE)
    assert peer.text(tool, {"n": 3}) == "done"
    assert peer.noticed("notifications/progress") == []
    assert peer.text(tool, {"n": 3}, meta={"progressToken": "t"}) == "done"
    told = peer.noticed("notifications/progress")
    assert [one["progress"] for one in told] == [1, 2, 3]
    assert {one["progressToken"] for one in told} == {"t"}
    if tool == "steps":
        assert told[0] == {"progressToken": "t", "progress": 1, "total": 3, "message": "step 1"}


def test_log_lines_go_to_whoever_asked_for_their_level(serve: Serve) -> None:
    peer = serve(SOURCE)
    assert peer.text("say", meta={"x/y": "z"}) == "z1"
    assert peer.noticed("notifications/message") == []
    assert peer.text("say", meta={"x/y": "z", LEVEL: "info"}) == "z2"
    told = peer.noticed("notifications/message")
    assert [(one["level"], one.get("logger")) for one in told] == [("info", None), ("warning", None), ("error", "own")]
    assert told[0]["data"] == {"a": 1} and told[1]["data"] == "<class 'object'>"
    # Which of several calls a line belongs to.
    assert {one["_meta"]["toolbus/request"] for one in told} == {2}


def test_notices_are_advice_and_bounded(serve: Serve) -> None:
    peer = serve(SOURCE)
    assert peer.text("flood", {"n": 20_000}, meta={LEVEL: "debug"}) == "done"
    assert 500 < len(peer.noticed("notifications/message")) < 3_000


def test_a_cancelled_coroutine_ends_and_is_not_answered(serve: Serve, tmp_path: Path) -> None:
    peer, trace = serve(SOURCE), tmp_path / "trace"
    slow, stubborn = peer.call("sleep", {"name": "a"}), peer.call("stubborn")
    wait_for(trace, "begin a")
    cancel(peer, slow)
    cancel(peer, stubborn)
    wait_for(trace, "cancelled a")
    wait_for(trace, "stubborn")
    cancel(peer, slow)
    cancel(peer, 4711)
    assert peer.text("quick") == "quick"
    assert not [message for message in peer._kept if message.get("id") in (slow, stubborn)]


def test_a_call_that_is_cancelled_before_it_began_does_not_run(serve: Serve, tmp_path: Path) -> None:
    peer, trace = serve(SOURCE), tmp_path / "trace"
    both = [peer.call("work", {"name": name}) for name in ("a", "b")]
    wait_for(trace, "begin a")
    wait_for(trace, "begin b")
    # The two threads are taken.
    third = peer.call("work", {"name": "c"})
    cancel(peer, third)
    for id in both:
        cancel(peer, id)
    wait_for(trace, "cancelled a True")
    wait_for(trace, "cancelled b True")
    assert peer.text("steps_in_thread", {"n": 1}) == "done"
    assert "begin c" not in trace.read_text()
    # In one piece with its cancellation.
    meta = '"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}'
    begin = '{"jsonrpc":"2.0","id":"x","method":"tools/call","params":{"name":"sleep","arguments":{"name":"d"},%s}}' % meta
    stop = '{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"x"}}'
    peer.write(f"{begin}\n{stop}\n".encode())
    assert peer.text("quick") == "quick"
    assert "cancelled d" in trace.read_text() or "begin d" not in trace.read_text()


def test_cancelled_calls_leave_room_for_others(serve: Serve) -> None:
    peer = serve(SOURCE)
    for _ in range(3):
        ids = [peer.call("sleep", {"name": "n"}) for _ in range(1_000)]
        for id in ids:
            cancel(peer, id)
    assert peer.text("quick") == "quick"


def test_too_many_calls_at_once_are_refused(serve: Serve) -> None:
    peer = serve(SOURCE)
    ids = [peer.call("sleep", {"name": "n"}) for _ in range(1_025)]
    assert peer.error(ids[-1])["message"].startswith("busy: 1024 calls")
    for id in ids:
        cancel(peer, id)
    assert peer.text("quick") == "quick"


def test_timeouts(serve: Serve, tmp_path: Path) -> None:
    peer = serve(SOURCE)
    for tool in ("late", "late_in_thread"):
        result = peer.ask(tool)
        assert result["isError"] and result["content"][0]["text"] == f"{tool} did not end within 0.5 s"
    wait_for(tmp_path / "trace", "gave up")
    assert peer.text("own_timeout").startswith("TimeoutError")
    assert peer.text("cancels_itself") == "CancelledError"
    assert peer.text("steps_in_thread", {"n": 1}) == "done"


def test_the_end_of_the_input_cancels_what_runs(tmp_path: Path, host: Callable[..., Host]) -> None:
    served, trace = host(written(tmp_path, SOURCE)), tmp_path / "trace"
    served.peer.call("sleep", {"name": "a"})
    served.peer.call("work", {"name": "b"})
    wait_for(trace, "begin a")
    wait_for(trace, "begin b")
    begun = time.monotonic()
    assert served.hang_up() == 0
    assert time.monotonic() - begun < 10
    wait_for(trace, "cancelled a")


def test_one_that_does_not_read_is_gone_after_a_while(tmp_path: Path) -> None:
    file = written(tmp_path, "    import toolbus._session\n    toolbus._session.UNREAD_FOR = 0.5\n" + SOURCE)
    command = [sys.executable, "-m", "toolbus.host", str(file)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment())
    try:
        assert process.stdin is not None
        meta = {VERSION: "2026-07-28", CAPABILITIES: {}}
        # More than two pipes hold: at last nobody reads on either side.
        with contextlib.suppress(BrokenPipeError):
            for id in range(50):
                params = {"name": "echo", "arguments": {"text": "x" * 10_000}, "_meta": meta}
                call = {"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}
                process.stdin.write(json.dumps(call).encode() + b"\n")
            process.stdin.close()
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait(PATIENCE)


def test_what_runs_at_the_end_of_the_input_is_answered_where_it_is_quick(tmp_path: Path, host: Callable[..., Host]) -> None:
    served = host(written(tmp_path, SOURCE))
    ids = [served.peer.call("quick") for _ in range(50)]
    assert served.hang_up() == 0
    assert {message["id"] for message in served.peer.closed()} == set(ids)
