"""MCP itself: what is said first, both eras, and lines that no good client sends."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from _peer import CAPABILITIES, LEVEL, VERSION, Peer

SOURCE = '''
    from toolbus import Context, Worker

    worker = Worker("protocol", version="1.2", instructions="Add with care.")

    @worker.tool()
    async def add(a: int, b: int) -> int:
        return a + b

    @worker.tool()
    async def say(ctx: Context) -> str:
        ctx.debug("quiet")
        ctx.info("loud")
        ctx.report_progress(1)
        return "said"
'''

Serve = Callable[[str], Peer]


def test_discover(serve: Serve) -> None:
    peer = serve(SOURCE)
    found = peer.result(peer.begin("server/discover"))
    assert found == {
        "resultType": "complete",
        "supportedVersions": ["2026-07-28"],
        "capabilities": {"tools": {}, "logging": {}},
        "instructions": "Add with care.",
        "ttlMs": 60000,
        "cacheScope": "public",
        "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "protocol", "version": "1.2"}},
    }


def test_the_list_can_be_kept(serve: Serve) -> None:
    peer = serve(SOURCE)
    listed = peer.result(peer.begin("tools/list"))
    assert [tool["name"] for tool in listed["tools"]] == ["add", "say"]
    assert listed["ttlMs"] == 60000 and listed["cacheScope"] == "public" and "nextCursor" not in listed
    assert peer.error(peer.begin("tools/list", {"cursor": "x"}))["code"] == -32602


@pytest.mark.parametrize(
    ("method", "params", "meta", "code"),
    [
        ("tools/call", {"name": "nobody", "arguments": {}}, {}, -32602),
        ("tools/call", {}, {}, -32602),
        ("tools/call", {"name": ["add"]}, {}, -32602),
        ("tools/call", {"name": "add", "arguments": [1]}, {}, -32602),
        ("prompts/list", {}, {}, -32601),
        ("initialize", {}, {}, -32601),
        ("tools/list", {}, {VERSION: "2031-01-01"}, -32022),
        ("tools/list", {}, {VERSION: None}, -32602),
        ("tools/list", {}, {CAPABILITIES: None}, -32602),
        ("tools/list", {}, {LEVEL: "shouting"}, -32602),
    ],
)
def test_requests_that_are_refused(serve: Serve, method: str, params: Any, meta: Any, code: int) -> None:
    peer = serve(SOURCE)
    error = peer.error(peer.begin(method, params, meta))
    assert error["code"] == code, error
    if code == -32022:
        assert error["data"] == {"supported": ["2026-07-28"], "requested": "2031-01-01"}
    assert peer.text("add", {"a": 1, "b": 1}) == "2"


@pytest.mark.parametrize(
    ("line", "code", "id"),
    [
        (b"{", -32700, None),
        (b"\xff\xfe", -32700, None),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":NaN}}', -32700, None),
        (b"[" * 100_000, -32700, None),
        (b"[]", -32600, None),
        (b"7", -32600, None),
        (b'{"jsonrpc":"2.0","id":1}', -32600, 1),
        (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', -32600, None),
        (b'{"jsonrpc":"2.0","id":true,"method":"ping"}', -32600, None),
        (b'{"jsonrpc":"2.0","id":1.5,"method":"ping"}', -32600, None),
        (b'{"jsonrpc":"2.0","id":"x","method":"ping","params":[]}', -32600, "x"),
        (b'{"jsonrpc":"2.0","id":"x","method":"tools/list","params":{"_meta":[]}}', -32602, "x"),
        (b'{"jsonrpc":"2.0","id":"x","method":"tools/list"}', -32602, "x"),
        (b'{"jsonrpc":"2.0","id":"x","method":7}', -32600, "x"),
    ],
)
def test_lines_that_are_no_requests(serve: Serve, line: bytes, code: int, id: Any) -> None:
    peer = serve(SOURCE)
    peer.write(line + b"\n")
    answer = peer.next(lambda message: "error" in message)
    assert answer["error"]["code"] == code and answer.get("id") == id, answer
    assert peer.text("add", {"a": 1, "b": 1}) == "2"


def test_what_needs_no_answer_gets_none(serve: Serve) -> None:
    peer = serve(SOURCE)
    for line in (
        b'{"jsonrpc":"2.0","method":"notifications/unknown"}',
        b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":[1]}}',
        b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":7}',
        b'{"jsonrpc":"2.0","id":77,"result":{}}',
        b'{"jsonrpc":"2.0","id":[1],"error":{}}',
        b"",
        b"  \r",
    ):
        peer.write(line + b"\n")
    assert peer.text("add", {"a": 1, "b": 1}) == "2"
    assert peer._kept == []


def test_ids_keep_their_type_and_are_used_once_at_a_time(serve: Serve) -> None:
    peer = serve(SOURCE + '''
    import asyncio
    @worker.tool()
    async def sleep() -> None:
        await asyncio.sleep(60)
''')  # fmt: skip
    meta = {VERSION: "2026-07-28", CAPABILITIES: {}}
    for id in (2**64, "7", -1, ""):
        peer.send({"id": id, "method": "tools/call", "params": {"name": "add", "arguments": {"a": 1, "b": 1}, "_meta": meta}})
        assert peer.answer(id)["result"]["structuredContent"] == {"result": 2}
    busy = {"id": "same", "method": "tools/call", "params": {"name": "sleep", "_meta": meta}}
    peer.send(busy)
    peer.send(busy)
    assert "still under way" in peer.error("same")["message"]


def test_lines_in_pieces_and_together(serve: Serve) -> None:
    peer = serve(SOURCE)
    meta = {VERSION: "2026-07-28", CAPABILITIES: {}}
    params = {"name": "add", "arguments": {"a": 1, "b": 1}, "_meta": meta}
    line = json.dumps({"jsonrpc": "2.0", "id": "p", "method": "tools/call", "params": params}).encode() + b"\n"
    for n in range(len(line)):
        peer.write(line[n : n + 1])
    assert "result" in peer.answer("p")
    others = b"".join(line.replace(b'"p"', b'"%d"' % n) for n in range(4))
    peer.write(others[:-10])
    peer.write(others[-10:])
    for n in range(4):
        assert "result" in peer.answer(str(n))


def test_a_line_without_end_is_passed_over(serve: Serve) -> None:
    peer = serve(SOURCE)
    piece = b"x" * (1024 * 1024)
    for _ in range(70):
        peer.write(piece)
    peer.write(b"\n")
    assert "at most" in peer.next(lambda message: "error" in message)["error"]["message"]
    assert peer.text("add", {"a": 1, "b": 1}) == "2"


@pytest.mark.parametrize("version", ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", "1999-01-01"])
def test_older_revisions(serve: Serve, version: str) -> None:
    peer = serve(SOURCE)
    peer.send({"id": 0, "method": "ping"})
    assert peer.result(0) == {}
    hello = {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    peer.send({"id": 1, "method": "initialize", "params": hello})
    opened = peer.result(1)
    assert opened["protocolVersion"] == (version if version[:2] == "20" else "2025-11-25")
    assert opened["serverInfo"] == {"name": "protocol", "version": "1.2"} and opened["capabilities"]["tools"] == {}
    peer.send({"method": "notifications/initialized"})
    peer.send({"id": 2, "method": "tools/list"})
    listed = peer.result(2)
    assert list(listed) == ["tools"] and len(listed["tools"]) == 2
    peer.send({"id": 3, "method": "tools/call", "params": {"name": "add", "arguments": {"a": 1, "b": 2}}})
    assert peer.result(3) == {"content": [{"type": "text", "text": "3"}], "structuredContent": {"result": 3}}
    peer.send({"id": 4, "method": "tools/call", "params": {"name": "say", "_meta": {"progressToken": 1}}})
    peer.result(4)
    assert peer.noticed("notifications/progress") == [{"progressToken": 1, "progress": 1}]
    assert peer.noticed("notifications/message") == [{"level": "info", "data": "loud"}]
    peer.send({"id": 5, "method": "logging/setLevel", "params": {"level": "debug"}})
    assert peer.result(5) == {}
    peer.send({"id": 6, "method": "tools/call", "params": {"name": "say"}})
    peer.result(6)
    assert [one["data"] for one in peer.noticed("notifications/message")] == ["quiet", "loud"]
    peer.send({"id": 7, "method": "logging/setLevel", "params": {"level": "shouting"}})
    assert peer.error(7)["code"] == -32602
    peer.send({"id": 8, "method": "resources/list"})
    assert peer.error(8)["code"] == -32601
    # Requests of the newest revision stand for themselves in any session.
    assert peer.ask("add", {"a": 1, "b": 1})["resultType"] == "complete"
