"""Arguments in, results out."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from _peer import Host, Peer, written

SOURCE = '''
    import base64, dataclasses, enum, functools
    from datetime import date
    from typing import Annotated, Any, Literal

    from typing_extensions import TypedDict
    from pydantic import BaseModel, Field
    from toolbus import Audio, Content, Context, Image, Resource, ResourceLink, Result, ToolError, Worker

    worker = Worker("calls")

    class Point(BaseModel):
        x: int
        y: int = 0

    @dataclasses.dataclass
    class Pair:
        left: str
        right: date

    class Row(TypedDict):
        name: str
        count: int

    class Colour(enum.Enum):
        RED = "red"

    @worker.tool()
    async def add(a: int, b: int = 2) -> int:
        return a + b

    @worker.tool
    def in_thread(a: int) -> str:
        import threading
        return f"{a} {threading.current_thread() is threading.main_thread()}"

    @worker.tool(inline=True)
    def inline(a: int) -> str:
        import threading
        return f"{a} {threading.current_thread() is threading.main_thread()}"

    @worker.tool()
    def move(point: Point, by: Point | None = None) -> Point:
        return Point(x=point.x + (by.x if by else 1), y=point.y)

    @worker.tool()
    def pair(day: date) -> Pair:
        return Pair("é😀", day)

    @worker.tool()
    async def row() -> Row:
        return {"name": "a", "count": 1}

    @worker.tool()
    async def rows(n: int) -> list[Row]:
        return [{"name": str(i), "count": i} for i in range(n)]

    @worker.tool()
    async def either(which: bool) -> Point | str:
        return Point(x=1) if which else "none"

    @worker.tool()
    async def colour(of: Colour, mode: Literal["a", "b"]) -> Literal["red"]:
        return of.value

    @worker.tool()
    async def wrong() -> int:
        return "seven"

    @worker.tool()
    def nothing() -> None:
        pass

    @worker.tool()
    def untyped(value):
        return value

    @worker.tool()
    def pictures() -> list[Content | str]:
        return [Image(b"png", "image/png"), Audio(b"wav", "audio/wav"), "text",
                Resource("file:///a", "hi", "text/plain"), Resource("file:///b", b"hi"),
                ResourceLink("file:///c", "c", size=3)]

    @worker.tool()
    def block():
        return {"type": "text", "text": "a dict that is content"}

    @worker.tool()
    def whole() -> Result:
        return Result(["no"], structured={"why": 1}, is_error=True)

    @worker.tool()
    def bare():
        return b"bytes"

    @worker.tool()
    async def told() -> str:
        raise ToolError("do this instead")

    @worker.tool()
    async def broken() -> str:
        return {}["key"]

    @worker.tool()
    def broken_thread() -> str:
        raise SystemExit(3)

    @worker.tool()
    async def odd(copy: int, _private: int, /, model_config: int, *, json: int, schema: Annotated[int, Field(ge=1)] = 1) -> list[int]:
        return [copy, _private, model_config, json, schema]

    @worker.tool()
    async def open_ended(**anything: int) -> dict[str, int]:
        return anything

    class Callable:
        async def __call__(self, a: int) -> int:
            return a * 2

    worker.tool("object")(Callable())
    worker.tool("partial")(functools.partial(lambda a, b: [a, b], 1))

    @worker.tool()
    async def large(mib: int) -> str:
        return "x" * (mib * 1024 * 1024)

    @worker.tool()
    def forgot():
        async def work(): return 1
        return work()
'''


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    """One process for all these tests: each call stands alone."""
    host = Host(written(tmp_path_factory.mktemp("calls"), SOURCE))
    yield host.peer
    host.end()


def failed(result: dict[str, object]) -> str:
    """The text of a result that has to be a failure."""
    assert result["isError"] is True, result
    shown: str = result["content"][0]["text"]  # type: ignore[index]
    return shown


def test_simple_results_are_structured_and_shown(calls: Peer) -> None:
    result = calls.ask("add", {"a": 3})
    assert result["content"] == [{"type": "text", "text": "5"}]
    assert result["structuredContent"] == {"result": 5}
    assert result["resultType"] == "complete" and "isError" not in result
    assert result["_meta"]["io.modelcontextprotocol/serverInfo"] == {"name": "calls", "version": "0"}


def test_where_functions_run(calls: Peer) -> None:
    assert calls.text("in_thread", {"a": 1}) == "1 False"
    assert calls.text("inline", {"a": 1}) == "1 True"


def test_models_dataclasses_and_typed_dicts(calls: Peer) -> None:
    assert calls.ask("move", {"point": {"x": 1, "y": 5}})["structuredContent"] == {"x": 2, "y": 5}
    assert calls.ask("move", {"point": {"x": 1}, "by": {"x": 4}})["structuredContent"] == {"x": 5, "y": 0}
    assert calls.ask("pair", {"day": "2026-07-28"})["structuredContent"] == {"left": "é😀", "right": "2026-07-28"}
    assert calls.ask("row")["structuredContent"] == {"name": "a", "count": 1}


def test_lists_and_unions_stand_in_an_object(calls: Peer) -> None:
    rows = calls.ask("rows", {"n": 2})
    assert rows["structuredContent"] == {"result": [{"name": "0", "count": 0}, {"name": "1", "count": 1}]}
    assert json.loads(rows["content"][0]["text"]) == rows["structuredContent"]["result"]
    assert calls.ask("either", {"which": True})["structuredContent"] == {"result": {"x": 1, "y": 0}}
    none = calls.ask("either", {"which": False})
    assert none["structuredContent"] == {"result": "none"} and none["content"][0]["text"] == "none"
    assert calls.ask("colour", {"of": "red", "mode": "b"})["structuredContent"] == {"result": "red"}


def test_a_result_that_its_type_does_not_allow(calls: Peer) -> None:
    assert "returned what its type does not allow" in failed(calls.ask("wrong"))


def test_results_without_a_type(calls: Peer) -> None:
    assert calls.ask("nothing")["content"] == []
    assert calls.text("untyped", {"value": "text"}) == "text"
    assert calls.ask("untyped", {"value": {"a": [1]}})["structuredContent"] == {"a": [1]}
    listed = calls.ask("untyped", {"value": [1, None]})
    assert listed["content"][0]["text"] == "[1,null]" and "structuredContent" not in listed


def test_content(calls: Peer) -> None:
    blocks = calls.ask("pictures")["content"]
    assert blocks == [
        {"type": "image", "data": "cG5n", "mimeType": "image/png"},
        {"type": "audio", "data": "d2F2", "mimeType": "audio/wav"},
        {"type": "text", "text": "text"},
        {"type": "resource", "resource": {"uri": "file:///a", "mimeType": "text/plain", "text": "hi"}},
        {"type": "resource", "resource": {"uri": "file:///b", "blob": "aGk="}},
        {"type": "resource_link", "uri": "file:///c", "name": "c", "size": 3},
    ]
    assert calls.text("block") == "a dict that is content"
    whole = calls.ask("whole")
    assert failed(whole) == "no" and whole["structuredContent"] == {"why": 1}
    assert "toolbus.Image" in failed(calls.ask("bare"))


def test_exceptions_are_results_without_a_traceback(calls: Peer) -> None:
    assert failed(calls.ask("told")) == "do this instead"
    assert failed(calls.ask("broken")) == "KeyError: 'key'"
    assert failed(calls.ask("broken_thread")) == "SystemExit: 3"
    assert "async def" in failed(calls.ask("forgot"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "a: Field required"),
        ({"a": "x"}, "a: Input should be a valid integer"),
        ({"a": 1, "c": 1}, "c: Extra inputs are not permitted"),
        ({"a": None}, "(got None)"),
    ],
)
def test_bad_arguments_are_named(calls: Peer, arguments: dict[str, object], said: str) -> None:
    text = failed(calls.ask("add", arguments))
    assert text.startswith("invalid arguments for add:\n") and said in text


def test_bad_arguments_deep_inside(calls: Peer) -> None:
    assert "- point.x: " in failed(calls.ask("move", {"point": {"x": "no"}}))
    shown = failed(calls.ask("add", {"a": "y" * 10_000}))
    assert len(shown) < 400


def test_parameters_of_every_kind_and_name(calls: Peer) -> None:
    odd = {"copy": 1, "_private": 2, "model_config": 3, "json": 4}
    assert calls.ask("odd", odd)["structuredContent"] == {"result": [1, 2, 3, 4, 1]}
    assert "schema: " in failed(calls.ask("odd", odd | {"schema": 0}))
    assert "field_0: Extra" in failed(calls.ask("odd", odd | {"field_0": 0}))
    assert calls.ask("open_ended", {"a": 1, "b": 2})["structuredContent"] == {"a": 1, "b": 2}
    assert calls.ask("object", {"a": 4})["structuredContent"] == {"result": 8}
    assert calls.text("partial", {"b": 4}) == "[1,4]"


def test_numbers_and_text_beyond_the_usual(calls: Peer) -> None:
    large = 2**70
    assert calls.ask("untyped", {"value": {"n": large}})["structuredContent"] == {"n": large}
    assert calls.ask("add", {"a": large})["structuredContent"] == {"result": large + 2}
    # A line separator is no line break of the framing.
    assert calls.text("untyped", {"value": "a\u2028b\nc"}) == "a\u2028b\nc"
    text = "é" * 3_000_000
    assert calls.text("untyped", {"value": text}) == text


def test_a_result_that_is_too_large_is_an_error_and_not_the_end(calls: Peer) -> None:
    assert "more than 38 MiB" in failed(calls.ask("large", {"mib": 39}))
    assert len(calls.text("large", {"mib": 37})) == 37 * 1024 * 1024
    assert len(calls.error(calls.call("x" * 5_000))["message"]) < 200


def test_the_traceback_is_for_whoever_runs_it(tmp_path: Path, host: Callable[..., Host]) -> None:
    served = host(written(tmp_path, SOURCE))
    failed(served.peer.ask("broken"))
    failed(served.peer.ask("told"))
    assert served.hang_up() == 0
    assert b"tool 'broken' failed" in served.stderr and b"Traceback" in served.stderr
    assert b"do this instead" not in served.stderr
