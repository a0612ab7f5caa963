"""Plays steps with the client of the Python package `mcp` before 2.0, which knows the older revisions only."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import anyio
from _play import Ear, main, plain
from mcp import ClientSession, StdioServerParameters, stdio_client
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import (
    CreateMessageResult,
    ElicitResult,
    InitializeResult,
    ListRootsResult,
    PaginatedRequestParams,
    PromptReference,
    ResourceTemplateReference,
)
from pydantic import AnyUrl

LISTS = {"tools": "list_tools", "prompts": "list_prompts", "resources": "list_resources"}
LISTS["resourceTemplates"] = "list_resource_templates"


def transport(via: dict):
    if "command" in via:
        command, *words = via["command"]
        parameters = StdioServerParameters(command=command, args=words, env={**os.environ, **via.get("env", {})})
        return stdio_client(parameters, errlog=open(via["log"], "a"))
    return sse_client(via["url"]) if via["kind"] == "sse" else streamable_http_client(via["url"])


class Player:
    """What the steps ask of a client."""

    def __init__(self, session: ClientSession, hello: InitializeResult, ear: Ear) -> None:
        self.session, self.ear = session, ear
        self.revision, self.words = hello.protocolVersion, hello.instructions
        self.capabilities = plain(hello.capabilities)

    async def page(self, what: str, cursor: str | None):
        return await getattr(self.session, LISTS[what])(params=PaginatedRequestParams(cursor=cursor))

    async def call(self, name: str, arguments: dict):
        return await self.session.call_tool(name, arguments, progress_callback=self.ear.progress)

    async def complete(self, ref: dict, argument: dict, context: dict | None):
        kind = PromptReference if ref["type"] == "ref/prompt" else ResourceTemplateReference
        return await self.session.complete(kind.model_validate(ref), argument, context)

    @asynccontextmanager
    async def watching(self, notice: str) -> AsyncIterator[None]:
        uri = AnyUrl(notice) if "://" in notice else None
        if uri:
            await self.session.subscribe_resource(uri)
        yield
        if uri:
            await self.session.unsubscribe_resource(uri)


@asynccontextmanager
async def connect(play: dict, ear: Ear) -> AsyncIterator[Player]:
    async def elicit(_, params) -> ElicitResult:
        return ElicitResult.model_validate(ear.question("elicitation/create", plain(params)))

    async def sample(_, params) -> CreateMessageResult:
        return CreateMessageResult.model_validate(ear.question("sampling/createMessage", plain(params)))

    async def roots(_) -> ListRootsResult:
        return ListRootsResult.model_validate(ear.question("roots/list", {}))

    async def log(params) -> None:
        ear.log(plain(params))

    async def notice(message: object) -> None:
        root = getattr(message, "root", None)
        method = getattr(root, "method", "")
        if method == "notifications/resources/updated":
            ear.notices.append(str(root.params.uri))
        elif method.endswith("/list_changed"):
            ear.notices.append(method.split("/")[1])

    callbacks = {"elicitation_callback": elicit, "sampling_callback": sample, "list_roots_callback": roots}
    async with transport(play["via"]) as (read, write, *_):
        session = ClientSession(
            read,
            write,
            read_timeout_seconds=timedelta(seconds=play["within"]),
            logging_callback=log,
            message_handler=notice,
            **({} if play["deaf"] else callbacks),
        )
        async with session:
            hello = await session.initialize()
            if hello.capabilities.logging:
                await session.set_logging_level("info")
            yield Player(session, hello, ear)


if __name__ == "__main__":
    anyio.run(main, connect)
