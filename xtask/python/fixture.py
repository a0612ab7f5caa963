"""What the conformance suite asks a server for, as a Python module behind a tool runner: a low-level server of mcp 2."""

import asyncio
import hashlib
import hmac
import json
import os
from collections.abc import Awaitable, Callable
from typing import Any

from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError
from mcp.types import (
    CallToolRequestParams,
    CompleteRequestParams,
    GetPromptRequestParams,
    PaginatedRequestParams,
    ReadResourceRequestParams,
)

RED_DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR42mP4z8AAAAMBAQD3A0FDAAAAAElFTkSuQmCC"
SILENCE = "UklGRiwAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQgAAAAAAAAAAAAAAA=="
PAUSE = 0.05
CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"

# Signs what a caller brings back.
KEY = os.urandom(32)

Json = dict[str, Any]


class Asks(Exception):
    """The call ends with questions."""

    def __init__(self, questions: Json, answers: Json) -> None:
        super().__init__()
        self.questions, self.answers = questions, answers


class Call:
    """A request, with the answers that it brings and those that it brought before."""

    def __init__(self, context: Any) -> None:
        self.session, self.params = context.session, dict(context.params or {})
        meta = self.params.get("_meta") or {}
        self.capabilities: Json = meta.get(CAPABILITIES) or {}
        self.arguments: Json = self.params.get("arguments") or {}
        self.came_back = self.params.get("requestState") is not None
        self.answers: Json = _unsealed(self.params.get("requestState")) | (self.params.get("inputResponses") or {})

    async def log(self, level: Any, data: str) -> None:
        """A log line, to whoever wants it."""
        await self.session.send_log_message(level, data)

    def ask(self, **questions: Json) -> list[Json]:
        """The answers to these questions; without one, the call ends with what is open."""
        needed = {"elicitation/create": "elicitation", "sampling/createMessage": "sampling", "roots/list": "roots"}
        for question in questions.values():
            capability = needed[question["method"]]
            if capability not in self.capabilities:
                raise MCPError(-32021, "the client cannot be asked", {"requiredCapabilities": {capability: {}}})
        missing = {key: question for key, question in questions.items() if key not in self.answers}
        if missing:
            raise Asks(missing, self.answers)
        return [self.answers[key] for key in questions]


def _sealed(answers: Json) -> str:
    text = json.dumps(answers)
    return hmac.new(KEY, text.encode(), hashlib.sha256).hexdigest() + text


def _unsealed(state: Any) -> Json:
    if not isinstance(state, str):
        return {}
    sign, text = state[:64], state[64:]
    if not hmac.compare_digest(hmac.new(KEY, text.encode(), hashlib.sha256).hexdigest(), sign):
        raise MCPError(-32602, "the requestState was changed")
    found: Json = json.loads(text)
    return found


def form(message: str, properties: Json, *required: str) -> Json:
    """An elicitation by form."""
    schema = {"type": "object", "properties": properties} | ({"required": list(required)} if required else {})
    return {"method": "elicitation/create", "params": {"mode": "form", "message": message, "requestedSchema": schema}}


def sampling(prompt: str, most: int) -> Json:
    """A question for the client's model."""
    messages = [{"role": "user", "content": {"type": "text", "text": prompt}}]
    return {"method": "sampling/createMessage", "params": {"messages": messages, "maxTokens": most}}


ROOTS: Json = {"method": "roots/list", "params": {}}


def text(said: str) -> Json:
    """A result of one text."""
    return {"content": [{"type": "text", "text": said}]}


def resource(uri: str, mime: str, said: str) -> Json:
    """An embedded resource."""
    return {"type": "resource", "resource": {"uri": uri, "mimeType": mime, "text": said}}


IMAGE: Json = {"type": "image", "data": RED_DOT, "mimeType": "image/png"}

# Tools.

Run = Callable[[Call], Awaitable[Json]]
TOOLS: dict[str, tuple[Json, Run]] = {}
NOTHING: Json = {"type": "object", "properties": {}}


def tool(about: str, schema: Json = NOTHING, **more: Any) -> Callable[[Run], Run]:
    """Adds a tool."""

    def add(run: Run) -> Run:
        TOOLS[run.__name__] = ({"name": run.__name__, "description": about, "inputSchema": schema} | more, run)
        return run

    return add


def texts(*names: str) -> Json:
    """The schema of required texts."""
    return {"type": "object", "properties": {name: {"type": "string"} for name in names}, "required": list(names)}


@tool("Returns one text block")
async def test_simple_text(call: Call) -> Json:
    return text("This is a simple text response for testing.")


@tool("Returns one image")
async def test_image_content(call: Call) -> Json:
    return {"content": [IMAGE]}


@tool("Returns one piece of audio")
async def test_audio_content(call: Call) -> Json:
    return {"content": [{"type": "audio", "data": SILENCE, "mimeType": "audio/wav"}]}


@tool("Returns one embedded resource")
async def test_embedded_resource(call: Call) -> Json:
    return {"content": [resource("test://embedded-resource", "text/plain", "This is an embedded resource content.")]}


@tool("Returns text, an image and an embedded resource")
async def test_multiple_content_types(call: Call) -> Json:
    mixed = resource("test://mixed-content-resource", "application/json", '{"test":"data","value":123}')
    return {"content": [{"type": "text", "text": "Multiple content types test:"}, IMAGE, mixed]}


@tool("Always fails")
async def test_error_handling(call: Call) -> Json:
    return text("This tool intentionally returns an error for testing") | {"isError": True}


@tool("Sends three log messages at level info while it works")
async def test_tool_with_logging(call: Call) -> Json:
    for said in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await call.log("info", said)
        await asyncio.sleep(PAUSE)
    return text("Three log messages were sent to a caller who wants them")


@tool("Sends log messages of several levels, to whoever asked for them")
async def test_logging_tool(call: Call) -> Json:
    for level in ("debug", "info", "warning", "error"):
        await call.log(level, f"A message of level {level}")
    return text("Four log messages were sent to a caller who wants them")


@tool("Reports progress 0, 50 and 100 of 100 while it works")
async def test_tool_with_progress(call: Call) -> Json:
    for done, said in ((0, "begun"), (50, "half way"), (100, "done")):
        await call.session.report_progress(done, 100, said)
        await asyncio.sleep(PAUSE)
    return text("Progress was reported to a caller who gave a token")


@tool("Closes nothing: there is no stream behind a runner that could be taken up again")
async def test_reconnection(call: Call) -> Json:
    await asyncio.sleep(2 * PAUSE)
    return text("The answer survived the lost connection")


@tool("Asks the client's model to answer a prompt", texts("prompt"))
async def test_sampling(call: Call) -> Json:
    [answer] = call.ask(completion=sampling(call.arguments["prompt"], 100))
    return text(f"LLM response: {answer['content']['text']}")


@tool("Asks the user for a name and an address", texts("message"))
async def test_elicitation(call: Call) -> Json:
    properties = {
        "username": {"type": "string", "description": "User's response"},
        "email": {"type": "string", "description": "User's email address"},
    }
    [answer] = call.ask(user=form(call.arguments["message"], properties, "username", "email"))
    return text(f"User response: {json.dumps(answer)}")


@tool("Asks the user with a form that has a default for every primitive type")
async def test_elicitation_sep1034_defaults(call: Call) -> Json:
    properties = {
        "name": {"type": "string", "description": "User name", "default": "John Doe"},
        "age": {"type": "integer", "description": "User age", "default": 30},
        "score": {"type": "number", "description": "User score", "default": 95.5},
        "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
        "verified": {"type": "boolean", "description": "Verification status", "default": True},
    }
    [answer] = call.ask(details=form("Please review the defaults", properties))
    return completed(answer)


@tool("Asks the user with a form that has every kind of choice")
async def test_elicitation_sep1330_enums(call: Call) -> Json:
    def titled(noun: str) -> list[Json]:
        return [{"const": f"value{n}", "title": f"{nth} {noun}"} for n, nth in ((1, "First"), (2, "Second"), (3, "Third"))]

    options = ["option1", "option2", "option3"]
    properties = {
        "untitledSingle": {"type": "string", "enum": options},
        "titledSingle": {"type": "string", "oneOf": titled("Option")},
        "legacyEnum": {
            "type": "string",
            "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option One", "Option Two", "Option Three"],
        },
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": options}},
        "titledMulti": {"type": "array", "items": {"anyOf": titled("Choice")}},
    }
    [answer] = call.ask(choices=form("Please choose", properties))
    return completed(answer)


@tool("Works only for a client that declares sampling, and does not make use of it")
async def test_missing_capability(call: Call) -> Json:
    if "sampling" not in call.capabilities:
        raise MCPError(-32021, "the client cannot be asked", {"requiredCapabilities": {"sampling": {}}})
    return text("The client declares sampling")


@tool("Reports progress, then asks the user to confirm")
async def test_streaming_elicitation(call: Call) -> Json:
    await call.session.report_progress(1, 2, "about to ask")
    [answer] = call.ask(confirm=form("Please confirm", {"ok": {"type": "boolean"}}, "ok"))
    return completed(answer)


def completed(answer: Json) -> Json:
    """What came of a form."""
    return text(f"Elicitation completed: action={answer['action']}, content={json.dumps(answer.get('content'))}")


NAME = form("What is your name?", {"name": {"type": "string"}}, "name")


@tool("Asks for a name")
async def test_input_required_result_elicitation(call: Call) -> Json:
    [answer] = call.ask(user_name=NAME)
    return text(f"Hello, {answer['content']['name']}!")


@tool("Asks the client's model")
async def test_input_required_result_sampling(call: Call) -> Json:
    [answer] = call.ask(capital_question=sampling("What is the capital of France?", 100))
    return text(answer["content"]["text"])


@tool("Asks for the client's roots")
async def test_input_required_result_list_roots(call: Call) -> Json:
    [answer] = call.ask(client_roots=ROOTS)
    return text(f"The roots are {json.dumps(answer['roots'])}")


async def confirmation(call: Call) -> Json:
    """Asks, and looks whether its state came back."""
    call.ask(confirm=form("Please confirm", {"ok": {"type": "boolean"}}, "ok"))
    return text("confirmed, state-ok" if call.came_back else "confirmed, without a state")


@tool("Asks, and gives a state")
async def test_input_required_result_request_state(call: Call) -> Json:
    return await confirmation(call)


@tool("Asks, and gives a state that must not be changed")
async def test_input_required_result_tampered_state(call: Call) -> Json:
    return await confirmation(call)


@tool("Asks three things at once")
async def test_input_required_result_multiple_inputs(call: Call) -> Json:
    name, greeting, roots = call.ask(user_name=NAME, greeting=sampling("Generate a greeting", 50), client_roots=ROOTS)
    return text(f"{greeting['content']['text']} {name['content']['name']} Roots: {json.dumps(roots['roots'])}")


@tool("Asks twice")
async def test_input_required_result_multi_round(call: Call) -> Json:
    [name] = call.ask(step1=form("Step 1: What is your name?", {"name": {"type": "string"}}, "name"))
    [color] = call.ask(step2=form("Step 2: What is your favorite color?", {"color": {"type": "string"}}, "color"))
    return text(f"{name['content']['name']} likes {color['content']['color']}")


@tool("Asks what this client can be asked")
async def test_input_required_result_capabilities(call: Call) -> Json:
    possible = {"user_name": ("elicitation", NAME), "greeting": ("sampling", sampling("Generate a greeting", 50))}
    possible["client_roots"] = ("roots", ROOTS)
    asked = {key: question for key, (needs, question) in possible.items() if needs in call.capabilities}
    return text(f"The client answered {len(call.ask(**asked))} questions")


RICH: Json = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}

MIRRORED: Json = {
    "type": "object",
    "properties": {
        "value": {"type": "string", "description": "Mirrored into Mcp-Param-Value", "x-mcp-header": "Value"},
        "count": {"type": "integer", "x-mcp-header": "Count"},
        "urgent": {"type": "boolean", "x-mcp-header": "Urgent"},
        "place": {"type": "object", "properties": {"zone": {"type": "string", "x-mcp-header": "Zone"}}},
    },
    "required": ["value"],
}


@tool("Tool with JSON Schema 2020-12 features", RICH)
async def json_schema_2020_12_tool(call: Call) -> Json:
    return text(f"Hello, {call.arguments.get('name', '')}!")


@tool("Takes parameters that HTTP clients mirror into Mcp-Param headers, and returns them", MIRRORED)
async def test_custom_header(call: Call) -> Json:
    return text(json.dumps(call.arguments))


@tool("Says hello, always at once and never as a task", texts("name"))
async def greet(call: Call) -> Json:
    return text(f"Hello, {call.arguments['name']}!")


async def list_tools(context: Any, params: Any) -> Json:
    return {"tools": [definition for definition, _ in TOOLS.values()]}


async def call_tool(context: Any, params: Any) -> Json:
    if params.name not in TOOLS:
        raise MCPError(-32602, f"Unknown tool: {params.name}")
    return await answered(context, TOOLS[params.name][1])


async def answered(context: Any, run: Run) -> Json:
    """The result, or the questions."""
    try:
        return await run(Call(context))
    except Asks as asks:
        return {"resultType": "input_required", "inputRequests": asks.questions, "requestState": _sealed(asks.answers)}


# Prompts.


def argument(name: str, about: str) -> Json:
    """An argument that must be given."""
    return {"name": name, "description": about, "required": True}


PROMPTS: list[Json] = [
    {"name": "test_simple_prompt", "description": "A prompt without arguments"},
    {
        "name": "test_prompt_with_arguments",
        "description": "A prompt with two arguments",
        "arguments": [argument("arg1", "First test argument"), argument("arg2", "Second test argument")],
    },
    {
        "name": "test_prompt_with_embedded_resource",
        "description": "A prompt that embeds a resource",
        "arguments": [argument("resourceUri", "URI of the resource to embed")],
    },
    {"name": "test_prompt_with_image", "description": "A prompt that shows a picture"},
    {"name": "test_input_required_result_prompt", "description": "A prompt that asks for its context"},
]


async def list_prompts(context: Any, params: Any) -> Json:
    return {"prompts": PROMPTS}


async def get_prompt(context: Any, params: Any) -> Json:
    return await answered(context, lambda call: expanded(call, params.name))


async def expanded(call: Call, name: str) -> Json:
    """The messages of a prompt."""
    said = call.arguments
    if name == "test_simple_prompt":
        return messages({"type": "text", "text": "This is a simple prompt for testing."})
    if name == "test_prompt_with_arguments":
        return messages({"type": "text", "text": f"Prompt with arguments: arg1='{said['arg1']}', arg2='{said['arg2']}'"})
    if name == "test_prompt_with_embedded_resource":
        inner = resource(said["resourceUri"], "text/plain", "Embedded resource content for testing.")
        return messages(inner, {"type": "text", "text": "Please process the embedded resource above."})
    if name == "test_prompt_with_image":
        return messages(IMAGE, {"type": "text", "text": "Please analyze the image above."})
    if name == "test_input_required_result_prompt":
        question = form("What context should the prompt use?", {"context": {"type": "string"}}, "context")
        [answer] = call.ask(user_context=question)
        return messages({"type": "text", "text": f"Work in this context: {answer['content']['context']}"})
    raise MCPError(-32602, f"Unknown prompt: {name}")


def messages(*blocks: Json) -> Json:
    """Messages of the user."""
    return {"messages": [{"role": "user", "content": block} for block in blocks]}


# Resources.

TEMPLATE = "test://template/{id}/data"
RESOURCES = [
    ("test://static-text", "static-text", "A text that never changes", "text/plain"),
    ("test://static-binary", "static-binary", "A picture of one red pixel", "image/png"),
    ("test://watched-resource", "watched-resource", "A text to subscribe to", "text/plain"),
]


async def list_resources(context: Any, params: Any) -> Json:
    entries = [{"uri": uri, "name": name, "description": about, "mimeType": mime} for uri, name, about, mime in RESOURCES]
    return {"resources": entries}


async def list_templates(context: Any, params: Any) -> Json:
    entry = {"uriTemplate": TEMPLATE, "name": "template", "description": "Data for any id", "mimeType": "application/json"}
    return {"resourceTemplates": [entry]}


async def read_resource(context: Any, params: Any) -> Json:
    uri = str(params.uri)
    texts_of = {
        "test://static-text": "This is the content of the static text resource.",
        "test://watched-resource": "This is the content of the watched resource.",
    }
    if uri in texts_of:
        return {"contents": [{"uri": uri, "mimeType": "text/plain", "text": texts_of[uri]}]}
    if uri == "test://static-binary":
        return {"contents": [{"uri": uri, "mimeType": "image/png", "blob": RED_DOT}]}
    id = uri.removeprefix("test://template/").removesuffix("/data")
    if uri == TEMPLATE.replace("{id}", id) and id and "/" not in id:
        data = json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})
        return {"contents": [{"uri": uri, "mimeType": "application/json", "text": data}]}
    raise MCPError(-32602, "Resource not found", {"uri": uri})


async def complete(context: Any, params: Any) -> Json:
    """Suggestions that begin with what was typed."""
    asked = dict(context.params or {})
    reference, given = asked["ref"], asked["argument"]
    known: list[str] = []
    if reference.get("name") == "test_prompt_with_arguments" and given["name"] == "arg1":
        known = ["paris", "park", "party", "testing"]
    elif reference.get("uri") == TEMPLATE:
        known = ["123", "124", "200"]
    values = [value for value in known if value.startswith(given["value"])]
    return {"completion": {"total": len(values), "hasMore": False, "values": values}}


def whole(method: str, handler: Callable[[Any, Any], Awaitable[Json]]) -> Callable[[Any, Any], Awaitable[Json]]:
    """With what 2026-07-28 wants of every result, and of those that can be kept."""
    kept = {"ttlMs": 10_000, "cacheScope": "public"} if method.endswith(("list", "read")) else {}

    async def handle(context: Any, params: Any) -> Json:
        return {"resultType": "complete"} | kept | await handler(context, params)

    return handle


server: Any = Server("fixture", version="1.0")
for method, kind, handler in (
    ("tools/list", PaginatedRequestParams, list_tools),
    ("tools/call", CallToolRequestParams, call_tool),
    ("prompts/list", PaginatedRequestParams, list_prompts),
    ("prompts/get", GetPromptRequestParams, get_prompt),
    ("resources/list", PaginatedRequestParams, list_resources),
    ("resources/templates/list", PaginatedRequestParams, list_templates),
    ("resources/read", ReadResourceRequestParams, read_resource),
    ("completion/complete", CompleteRequestParams, complete),
):
    server.add_request_handler(method, kind, whole(method, handler))
