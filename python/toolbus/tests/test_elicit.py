"""Questions to the person behind a caller: a call waits in its process, and a retry goes on with it."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from _peer import FORMS, Peer

SOURCE = '''
    import asyncio, dataclasses, enum
    from typing import Literal
    from pydantic import BaseModel, Field
    from toolbus import Context, ElicitationNotSupported, Worker

    worker = Worker("asks")

    class Size(enum.Enum):
        S = "s"
        L = "l"

    class Order(BaseModel):
        size: Size
        count: int = Field(1, ge=1, description="how many")
        gift: bool | None = None
        tags: list[Literal["a", "b"]] = []

    @worker.tool()
    async def sure(ctx: Context, what: str) -> str:
        ctx.report_progress(1)
        answer = await ctx.elicit(f"Delete {what}?", bool)
        ctx.report_progress(2)
        return f"{answer.action} {answer.data}"

    @worker.tool()
    async def order(ctx: Context) -> str:
        answer = await ctx.elicit("What?", Order)
        return repr(answer.data)

    @worker.tool()
    async def both(ctx: Context) -> str:
        one, two = await asyncio.gather(ctx.elicit("One?", int), ctx.elicit("Two?", str))
        return f"{one.data} {two.data}"

    @worker.tool()
    async def twice(ctx: Context) -> str:
        first = await ctx.elicit("First?", int)
        second = await ctx.elicit("Second?", int)
        return str(first.data + second.data)

    @worker.tool()
    def in_thread(ctx: Context) -> str:
        return str(ctx.run(ctx.elicit("Sure?", bool)).data)

    @worker.tool(timeout=0.5)
    def hurried(ctx: Context) -> str:
        return str(ctx.run(ctx.elicit("Sure?", bool)).data)

    @worker.tool()
    async def places(ctx: Context) -> str:
        await asyncio.sleep(0.5)
        return str(ctx._call.engine._under_way)

    @worker.tool()
    async def can(ctx: Context) -> str:
        try:
            await ctx.elicit("Sure?", bool)
        except ElicitationNotSupported:
            return "cannot"
        return "can"

    @worker.tool()
    async def too_much(ctx: Context) -> str:
        class Nested(BaseModel):
            order: Order

        for kind in (dict[str, int], list[int]):
            try:
                await ctx.elicit("What?", kind)
            except TypeError as error:
                assert "a form cannot ask for" in str(error)
        await ctx.elicit("What?", Nested)
        return ""
'''

Serve = Callable[[str], Peer]


def asked(peer: Peer, tool: str, arguments: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """A result that asks."""
    result = peer.ask(tool, arguments, caps=FORMS, **more)
    assert result["resultType"] == "input_required", result
    return result


def retry(peer: Peer, tool: str, asks: dict[str, Any], *answers: Any, arguments: dict[str, Any] | None = None) -> dict[str, Any]:
    """The result of the call with these answers, by the order of the questions."""
    given = dict(zip(asks["inputRequests"], answers, strict=False))
    params = {"requestState": asks["requestState"], "inputResponses": given}
    return peer.ask(tool, arguments, caps=FORMS, params=params, meta={"progressToken": 9})


def accept(**content: Any) -> dict[str, Any]:
    """An answer."""
    return {"action": "accept", "content": content}


def text(result: dict[str, Any]) -> str:
    """What a result shows."""
    shown: str = result["content"][0]["text"]
    return shown


def test_a_question_and_its_answer(serve: Serve) -> None:
    peer = serve(SOURCE)
    asks = asked(peer, "sure", {"what": "all"})
    (question,) = asks["inputRequests"].values()
    form = {"type": "object", "properties": {"value": {"type": "boolean"}}, "required": ["value"]}
    assert question["method"] == "elicitation/create"
    assert question["params"] == {"mode": "form", "message": "Delete all?", "requestedSchema": form}
    done = retry(peer, "sure", asks, accept(value=True), arguments={"what": "all"})
    assert text(done) == "accept True"
    # Told to the request that waits now, under its own token.
    assert peer.noticed("notifications/progress") == [{"progressToken": 9, "progress": 2}]
    for action in ("decline", "cancel"):
        asks = asked(peer, "sure", {"what": "all"})
        assert text(retry(peer, "sure", asks, {"action": action}, arguments={"what": "all"})) == f"{action} None"


def test_a_state_is_good_once_and_for_its_own_call(serve: Serve) -> None:
    peer = serve(SOURCE)
    asks = asked(peer, "sure", {"what": "all"})
    state = {"requestState": asks["requestState"], "inputResponses": {"q1": accept(value=True)}}
    for tool, arguments in (("sure", {"what": "more"}), ("in_thread", {})):
        refused = peer.error(peer.call(tool, arguments, caps=FORMS, params=state))
        assert refused["code"] == -32602 and "another name or other arguments" in refused["message"]
    assert text(retry(peer, "sure", asks, accept(value=True), arguments={"what": "all"})) == "accept True"
    for lost in (asks["requestState"], "forged", 7):
        again = peer.call("sure", {"what": "all"}, caps=FORMS, params={"requestState": lost})
        assert peer.error(again)["code"] == -32602


def test_forms(serve: Serve) -> None:
    peer = serve(SOURCE)
    asks = asked(peer, "order")
    form = asks["inputRequests"]["q1"]["params"]["requestedSchema"]
    assert form["required"] == ["size"]
    fields = form["properties"]
    assert fields["size"]["type"] == "string" and fields["size"]["enum"] == ["s", "l"]
    assert fields["count"] == {"type": "integer", "minimum": 1, "default": 1, "description": "how many"}
    assert fields["gift"] == {"type": "boolean"}
    assert fields["tags"]["items"]["enum"] == ["a", "b"]
    done = retry(peer, "order", asks, accept(size="l", count=2))
    assert text(done) == "Order(size=<Size.L: 'l'>, count=2, gift=None, tags=[])"
    assert "a form cannot ask for 'order'" in peer.text("too_much", caps=FORMS)


def test_an_answer_that_does_not_fit_is_asked_for_again(serve: Serve) -> None:
    peer = serve(SOURCE)
    asks = asked(peer, "order")
    for _ in range(2):
        asks = retry(peer, "order", asks, accept(size="xxl"))
        assert "size: Input should be 's' or 'l'" in next(iter(asks["inputRequests"].values()))["params"]["message"]
    assert text(retry(peer, "order", asks, accept(size="xxl"))) == "the answers did not fit the form"


def test_several_questions_at_once_and_a_missing_answer(serve: Serve) -> None:
    peer = serve(SOURCE)
    asks = asked(peer, "both")
    assert list(asks["inputRequests"]) == ["q1", "q2"]
    rest = retry(peer, "both", asks, accept(value=1))
    assert list(rest["inputRequests"]) == ["q2"]
    assert text(retry(peer, "both", rest, accept(value="x"))) == "1 x"


def test_one_question_after_the_other(serve: Serve) -> None:
    peer = serve(SOURCE)
    first = asked(peer, "twice")
    second = retry(peer, "twice", first, accept(value=1))
    assert second["requestState"] != first["requestState"]
    assert text(retry(peer, "twice", second, accept(value=2))) == "3"


def test_a_function_in_a_thread_asks(serve: Serve) -> None:
    peer = serve(SOURCE)
    asks = asked(peer, "in_thread")
    assert text(retry(peer, "in_thread", asks, accept(value=False))) == "False"


def test_a_thread_whose_time_is_up_while_a_person_thinks(serve: Serve) -> None:
    peer = serve(SOURCE)
    asks = asked(peer, "hurried")
    time.sleep(1)
    done = retry(peer, "hurried", asks, accept(value=False))
    assert done["isError"] and text(done) == "hurried did not end within 0.5 s"
    # Its place is free again, once.
    assert peer.text("places", caps=FORMS) == "1"


def test_a_client_that_cannot_be_asked(serve: Serve) -> None:
    peer = serve(SOURCE)
    assert peer.text("can") == "cannot"
    nothing: dict[str, Any] = {}
    by_url: dict[str, Any] = {"elicitation": {"url": {}}}
    for caps in (nothing, by_url):
        refused = peer.error(peer.call("sure", {"what": "all"}, caps=caps))
        assert refused["code"] == -32021 and refused["data"] == {"requiredCapabilities": {"elicitation": {}}}
    assert peer.ask("can", caps={"elicitation": {}})["resultType"] == "input_required"


def test_calls_that_wait_are_bounded(serve: Serve) -> None:
    peer = serve(SOURCE)
    for _ in range(256):
        asked(peer, "both")
    assert "256 calls wait for answers" in peer.text("both", caps=FORMS)


@pytest.mark.parametrize("answer", [accept(value=True), None])
def test_older_clients_are_asked_in_mid_call(serve: Serve, answer: dict[str, Any] | None) -> None:
    peer = serve(SOURCE)
    hello = {"protocolVersion": "2025-06-18", "capabilities": {"elicitation": {}}, "clientInfo": {"name": "t", "version": "1"}}
    peer.send({"id": 1, "method": "initialize", "params": hello})
    assert peer.result(1)["protocolVersion"] == "2025-06-18"
    peer.send({"id": 2, "method": "tools/call", "params": {"name": "sure", "arguments": {"what": "all"}}})
    question = peer.next(lambda message: message.get("method") == "elicitation/create")
    assert "mode" not in question["params"] and question["params"]["message"] == "Delete all?"
    said = {"result": answer} if answer else {"error": {"code": -1, "message": "no screen"}}
    peer.send({"id": question["id"], **said})
    result = peer.result(2)
    assert text(result) == ("accept True" if answer else "the client did not answer: no screen")
    assert bool(result.get("isError")) is (answer is None)
