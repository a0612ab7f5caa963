"""A server that does all that its package can do, made with any of three, for the pairs of real clients and servers.

    _peer.py (fastmcp|mcp|old) (stdio|http|sse) NAME

`old` is the package `mcp` before 2.0. It has the tools of `_server.py`, and others that ask the client, are given up,
announce changes, or show a picture. On HTTP it takes a free port of loopback and prints its URL.
"""

import asyncio
import base64
import sys
import warnings
from pathlib import Path
from typing import Annotated

from _server import furnish, serve_http
from pydantic import BaseModel

RED_DOT = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
)

# Each entry of the lists that have pages is on a page with three others.
PAGE = 4

PEOPLE = {"oslo": ["Ada", "Alan", "Bo"], "rome": ["Anna", "Aldo"]}


class Person(BaseModel):
    name: str
    age: int


class Colour(BaseModel):
    colour: str


def people(argument, context) -> list[str]:
    """Completion of a name, by the town that was chosen before."""
    town = ((context and context.arguments) or {}).get("town", "oslo")
    return [name for name in PEOPLE.get(town, []) if name.startswith(argument.value)]


def common(server, Context, Image, name: str) -> None:
    """What is written the same way with every package."""
    @server.tool()
    def picture() -> Image:
        """A red dot."""
        return Image(data=RED_DOT, format="png")

    @server.tool()
    async def patience(mark: str, seconds: float, ctx: Context) -> str:
        """Tell the caller, wait, and write a file when the caller gives up."""
        try:
            await ctx.report_progress(1, 2, "patient")
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            Path(mark).touch()
            raise
        return "waited"

    @server.tool()
    def was_given_up(mark: str) -> str:
        """Whether the call with this file was given up."""
        return "yes" if Path(mark).exists() else "no"

    @server.prompt()
    def introduce(town: str, person: str) -> str:
        """An introduction."""
        return f"Introduce {person} of {town}."

    @server.resource(f"{name}://watched/{{who}}")
    def watched(who: str) -> str:
        """To be watched."""
        return f"watched by {who}"


def told(action: str, data: object) -> str:
    return f"{action}: {data.model_dump_json() if isinstance(data, BaseModel) else data}"


def with_old(name: str):
    """Asks in mid-call, with requests of its own."""
    from mcp.server.fastmcp import Context, FastMCP, Image
    from mcp.server.fastmcp.exceptions import ToolError
    from mcp.types import Completion, SamplingMessage, TextContent

    server = FastMCP(name, log_level="WARNING")
    furnish(server, Context, ToolError, name)
    common(server, Context, Image, name)

    @server.completion()
    async def complete(ref, argument, context):
        return Completion(values=people(argument, context))

    @server.tool()
    async def ask_form(ctx: Context) -> str:
        """Ask who it is."""
        answer = await ctx.elicit("Who are you?", Person)
        return told(answer.action, getattr(answer, "data", None))

    @server.tool()
    async def ask_in_vain(ctx: Context) -> str:
        """Ask what nobody answers."""
        answer = await ctx.elicit("Please decline", Person)
        return told(answer.action, getattr(answer, "data", None))

    @server.tool()
    async def ask_twice(ctx: Context) -> str:
        """Ask who it is, and then what they like."""
        person = await ctx.elicit("Who are you?", Person)
        colour = await ctx.elicit(f"{person.data.name}, which colour?", Colour)
        return f"{person.data.name} likes {colour.data.colour}"

    @server.tool()
    async def ask_url(ctx: Context) -> str:
        """Ask the user to open a page."""
        answer = await ctx.elicit_url("Please open this", "https://example.com/consent", "consent-1")
        return answer.action

    @server.tool()
    async def ask_model(prompt: str, ctx: Context) -> str:
        """Ask the model of the client."""
        message = SamplingMessage(role="user", content=TextContent(type="text", text=prompt))
        answer = await ctx.session.create_message([message], max_tokens=50)
        return f"{answer.model}: {answer.content.text}"

    @server.tool()
    async def ask_roots(ctx: Context) -> list[str]:
        """Ask for the roots of the client."""
        return [str(root.uri) for root in (await ctx.session.list_roots()).roots]

    return server


def with_mcp(name: str):
    """Asks as the era of its caller wants it; the package sees to that."""
    from mcp import MCPDeprecationWarning
    from mcp.server import MCPServer
    from mcp.server.mcpserver import Context, Elicit, Image, ListRoots, Resolve, Sample
    from mcp.server.mcpserver.exceptions import ToolError
    from mcp.types import (
        Completion,
        CreateMessageResult,
        ElicitRequest,
        ElicitRequestURLParams,
        EmptyResult,
        InputRequiredResult,
        ListRootsResult,
        SamplingMessage,
        SubscribeRequestParams,
        TextContent,
        UnsubscribeRequestParams,
    )

    warnings.simplefilter("ignore", MCPDeprecationWarning)
    server = MCPServer(name, version="1", log_level="WARNING", instructions=f"Instructions of {name}")
    furnish(server, Context, ToolError, name)
    common(server, Context, Image, name)

    @server.completion()
    async def complete(ref, argument, context):
        return Completion(values=people(argument, context))

    def who() -> Elicit[Person]:
        return Elicit("Who are you?", Person)

    def nobody() -> Elicit[Person]:
        return Elicit("Please decline", Person)

    def which_colour(person: Annotated[Person, Resolve(who)]) -> Elicit[Colour]:
        return Elicit(f"{person.name}, which colour?", Colour)

    def sample(prompt: str) -> Sample:
        message = SamplingMessage(role="user", content=TextContent(text=prompt))
        return Sample([message], max_tokens=50)

    @server.tool()
    async def ask_form(person: Annotated[Person, Resolve(who)]) -> str:
        """Ask who it is."""
        return told("accept", person)

    @server.tool()
    async def ask_in_vain(person: Annotated[Person, Resolve(nobody)]) -> str:
        """Ask what nobody answers."""
        return told("accept", person)

    @server.tool()
    async def ask_twice(
        person: Annotated[Person, Resolve(who)], colour: Annotated[Colour, Resolve(which_colour)]
    ) -> str:
        """Ask who it is, and then what they like."""
        return f"{person.name} likes {colour.colour}"

    @server.tool()
    async def ask_url(ctx: Context) -> str | InputRequiredResult:
        """Ask the user to open a page."""
        message, url = "Please open this", "https://example.com/consent"
        if ctx.protocol_version < "2026":
            return (await ctx.elicit_url(message, url, "consent-1")).action
        if ctx.input_responses:
            return ctx.input_responses["consent"].action
        question = ElicitRequest(params=ElicitRequestURLParams(message=message, url=url))
        return InputRequiredResult(input_requests={"consent": question})

    @server.tool()
    async def ask_model(prompt: str, answer: Annotated[CreateMessageResult, Resolve(sample)]) -> str:
        """Ask the model of the client."""
        return f"{answer.model}: {answer.content.text}"

    @server.tool()
    async def ask_roots(roots: Annotated[ListRootsResult, Resolve(ListRoots)]) -> list[str]:
        """Ask for the roots of the client."""
        return [str(root.uri) for root in roots.roots]

    @server.tool()
    async def touch(uri: str, ctx: Context) -> str:
        """Say that a resource has changed, in the way of either era."""
        await ctx.notify_resource_updated(uri)
        if ctx.protocol_version < "2026":
            await ctx.session.send_resource_updated(uri)
        return "touched"

    @server.tool()
    async def announce(ctx: Context) -> str:
        """Say that the list of tools has changed, in the way of either era."""
        await ctx.notify_tools_changed()
        if ctx.protocol_version < "2026":
            await ctx.session.send_tool_list_changed()
        return "announced"

    async def nothing(*_: object) -> EmptyResult:
        return EmptyResult()

    # The package has these for the newer era only; `touch` does not look who has subscribed.
    lower = server._lowlevel_server
    lower.add_request_handler("resources/subscribe", SubscribeRequestParams, nothing)
    lower.add_request_handler("resources/unsubscribe", UnsubscribeRequestParams, nothing)
    return server


def with_fastmcp(name: str):
    """Asks in mid-call or with its result, as the era of the caller wants it; lists in pages."""
    from fastmcp import Context, FastMCP
    from fastmcp.exceptions import ToolError
    from fastmcp.utilities.types import Image
    from mcp import MCPDeprecationWarning
    from mcp.types import ElicitRequest, ElicitRequestFormParams, InputRequiredResult

    warnings.simplefilter("ignore", MCPDeprecationWarning)
    server = FastMCP(name, version="1", list_page_size=PAGE, instructions=f"Instructions of {name}")
    furnish(server, Context, ToolError, name)
    common(server, Context, Image, name)

    @server.completion
    def complete(ref, argument, context):
        return people(argument, context)

    async def ask(ctx: Context, message: str) -> str | InputRequiredResult:
        question = ElicitRequestFormParams(message=message, requested_schema=Person.model_json_schema())
        if ctx.request_context.protocol_version < "2026":
            answer = await ctx.session.elicit(message, question.requested_schema, ctx.request_id)
        elif ctx.input_responses:
            answer = ctx.input_responses["who"]
        else:
            return InputRequiredResult(input_requests={"who": ElicitRequest(params=question)})
        return told(answer.action, answer.content and Person.model_validate(answer.content))

    @server.tool()
    async def ask_form(ctx: Context) -> str | InputRequiredResult:
        """Ask who it is."""
        return await ask(ctx, "Who are you?")

    @server.tool()
    async def ask_in_vain(ctx: Context) -> str | InputRequiredResult:
        """Ask what nobody answers."""
        return await ask(ctx, "Please decline")

    return server


def app_of(server, package: str, transport: str):
    """The server as an ASGI application."""
    if package == "fastmcp":
        return server.http_app(transport=transport)
    return server.sse_app() if transport == "sse" else server.streamable_http_app()


if __name__ == "__main__":
    package, transport, name = sys.argv[1:]
    server = {"fastmcp": with_fastmcp, "mcp": with_mcp, "old": with_old}[package](name)
    if transport != "stdio":
        serve_http(app_of(server, package, transport), 0, "/sse" if transport == "sse" else "/mcp")
    elif package == "fastmcp":
        server.run(transport="stdio", show_banner=False)
    else:
        server.run()
