"""Plays steps with the client of the Python package `mcp`, 2.x; see `_play.py`."""

import os
import warnings
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import anyio
from _play import Ear, main, plain
from mcp import Client, MCPDeprecationWarning, StdioServerParameters, stdio_client
from mcp.client.sse import sse_client
from mcp.client.subscriptions import PromptsListChanged, ResourcesListChanged, ResourceUpdated, ToolsListChanged
from mcp.types import (
    CreateMessageResult,
    ElicitResult,
    ListRootsResult,
    PromptReference,
    ResourceTemplateReference,
)

MODES = {"legacy": "legacy", "auto": "auto", "modern": "2026-07-28"}

LISTS = {"tools": "list_tools", "prompts": "list_prompts", "resources": "list_resources"}
LISTS["resourceTemplates"] = "list_resource_templates"

CHANGES = {ToolsListChanged: "tools", ResourcesListChanged: "resources", PromptsListChanged: "prompts"}


def transport(via: dict):
    if "command" in via:
        command, *words = via["command"]
        parameters = StdioServerParameters(command=command, args=words, env={**os.environ, **via.get("env", {})})
        return stdio_client(parameters, errlog=open(via["log"], "a"))
    return sse_client(via["url"]) if via["kind"] == "sse" else via["url"]


class Player:
    """What the steps ask of a client."""

    def __init__(self, client: Client, ear: Ear) -> None:
        self.session, self.ear = client, ear
        self.revision, self.words = client.protocol_version, client.instructions
        self.capabilities = plain(client.server_capabilities)

    async def page(self, what: str, cursor: str | None):
        return await getattr(self.session, LISTS[what])(cursor=cursor, cache_mode="bypass")

    async def call(self, name: str, arguments: dict):
        return await self.session.call_tool(name, arguments, progress_callback=self.ear.progress)

    async def complete(self, ref: dict, argument: dict, context: dict | None):
        kind = PromptReference if ref["type"] == "ref/prompt" else ResourceTemplateReference
        return await self.session.complete(kind.model_validate(ref), argument, context)

    @asynccontextmanager
    async def watching(self, notice: str) -> AsyncIterator[None]:
        uri = None if notice in CHANGES.values() else notice
        if self.revision < "2026":
            if uri:
                await self.session.subscribe_resource(uri)
            yield
            if uri:
                await self.session.unsubscribe_resource(uri)
            return
        wanted = {"resource_subscriptions": [uri]} if uri else {f"{notice}_list_changed": True}
        async with AsyncExitStack() as stack:
            stream = await stack.enter_async_context(self.session.listen(**wanted))
            tasks = await stack.enter_async_context(anyio.create_task_group())
            tasks.start_soon(self.note, stream)
            yield
            tasks.cancel_scope.cancel()

    async def note(self, stream) -> None:
        async for event in stream:
            self.ear.notices.append(event.uri if isinstance(event, ResourceUpdated) else CHANGES[type(event)])


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
        method = getattr(message, "method", "")
        if method == "notifications/resources/updated":
            ear.notices.append(str(message.params.uri))
        elif method.endswith("/list_changed"):
            ear.notices.append(method.split("/")[1])

    callbacks = {"elicitation_callback": elicit, "sampling_callback": sample, "list_roots_callback": roots}
    client = Client(
        transport(play["via"]),
        mode=MODES[play["mode"]],
        read_timeout_seconds=play["within"],
        logging_callback=log,
        log_level="info",
        message_handler=notice,
        **({} if play["deaf"] else callbacks),
    )
    async with client:
        if client.protocol_version < "2026" and client.server_capabilities.logging:
            await client.set_logging_level("info")
        yield Player(client, ear)


if __name__ == "__main__":
    warnings.simplefilter("ignore", MCPDeprecationWarning)
    anyio.run(main, connect)
