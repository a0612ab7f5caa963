"""What every kind of server does alike behind a kernel. Needs no pytest: the older package's environment has none."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from _peer import CAPABILITIES, FORMS, PATIENCE

from toolbus._errors import RpcError
from toolbus._kernel import Kernel

ASKS = {CAPABILITIES: FORMS}


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """Runs it in a loop of its own, within bounds."""

    async def bounded() -> Any:
        return await asyncio.wait_for(work, PATIENCE)

    return asyncio.run(bounded())


def text(result: dict[str, Any]) -> str:
    """The text of a result."""
    return str(result["content"][0]["text"])


async def played(target: str, kind: str) -> None:
    """What every server does alike."""
    kernel = await Kernel.open(target)
    assert [tool["name"] for tool in await kernel.tools()] == ["add", "count", "sure", "fail"]
    added = await kernel.call("add", {"a": 1, "b": 2})
    assert added["structuredContent"] == {"result": 3} and not added.get("isError"), added
    events: list[dict[str, Any]] = []
    assert text(await kernel.call("count", {"n": 3}, events.append)) == "counted"
    assert [event["progress"] for event in events] == [1, 2, 3]
    assert (await kernel.call("fail", {}))["isError"]
    assert (await kernel.call("add", {"a": "x"}))["isError"]
    await refused(kernel.call("nope"), "nope")
    if kind == "worker":
        assert await kernel.resources() == [] and "prompts" not in kernel.capabilities()
    else:
        assert [prompt["name"] for prompt in await kernel.prompts()] == ["greet"]
        got = await kernel.get("greet", {"name": "Ann"})
        assert got["messages"][0]["content"]["text"] == "Greet Ann"
        assert [resource["uri"] for resource in await kernel.resources()] == ["test://text"]
        assert (await kernel.read("test://text"))["contents"][0]["text"] == "a text"
        await refused(kernel.read("test://nothing"), "")
    if kind in ("worker", "mcp 1"):
        await asked(kernel)
    await kernel.close()


async def asked(kernel: Kernel) -> None:
    """A question is a result, and the answer goes on with the call."""
    question = await kernel.call("sure", {}, meta=ASKS)
    assert question["resultType"] == "input_required", question
    (key,) = question["inputRequests"]
    assert question["inputRequests"][key]["params"]["message"] == "Sure?"
    answers = {key: {"action": "accept", "content": {"value": True}}}
    again = {"input_responses": answers, "request_state": question["requestState"]}
    assert text(await kernel.call("sure", {}, meta=ASKS, **again)).lower() == "accept true"
    await refused(kernel.call("sure", {}, meta=ASKS, **again), "requestState")


async def refused(work: Coroutine[Any, Any, Any], why: str) -> None:
    """It ends with an error of the protocol that says this."""
    try:
        await work
    except RpcError as error:
        assert why in str(error), error
    else:
        raise AssertionError("nothing was raised")
