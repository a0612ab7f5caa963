"""A function as a tool: its definition, how its arguments are read, and how its result is written."""

import inspect
import re
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, create_model

from toolbus import _content, _docs, _schema
from toolbus._context import Context
from toolbus._errors import ToolError
from toolbus._json import dumps

# 2026-07-28, server/tools.
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}")

Kind = Literal["async", "thread", "inline"]
Bind = Callable[[dict[str, Any], Context | None], tuple[list[Any], dict[str, Any]]]
Encode = Callable[[Any], bytes]


@dataclass(frozen=True, slots=True)
class Hints:
    """What a tool says of itself beyond its schema, as the annotations of MCP."""

    read_only: bool | None = None
    destructive: bool | None = None
    idempotent: bool | None = None
    open_world: bool | None = None

    def annotations(self) -> dict[str, bool]:
        """As MCP writes them."""
        hints = {
            "readOnlyHint": self.read_only,
            "destructiveHint": self.destructive,
            "idempotentHint": self.idempotent,
            "openWorldHint": self.open_world,
        }
        return {name: hint for name, hint in hints.items() if hint is not None}


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that can be called by its name."""

    name: str
    fn: Callable[..., Any]
    kind: Kind
    definition: dict[str, Any]
    bind: Bind
    encode: Encode
    wants_context: bool
    timeout: float | None


def make(
    fn: Callable[..., Any],
    *,
    name: str | None,
    title: str | None,
    description: str | None,
    hints: Hints,
    timeout: float | None,
    inline: bool,
    meta: dict[str, Any] | None,
) -> Tool:
    """Reads a function; raises TypeError or ValueError where it cannot be a tool."""
    name = str(name or getattr(fn, "__name__", ""))
    if not _NAME.fullmatch(name):
        raise ValueError(f"tool name {name!r}: use 1 to 128 letters, digits, '_', '.' or '-' (name=...)")
    if timeout is not None and not timeout > 0:
        raise ValueError(f"tool {name!r}: timeout is {timeout!r}; it is a time in seconds")
    try:
        types_of, signature = _types(fn), inspect.signature(fn)
        described, params = _docs.read(fn.__doc__)
        bind, schema, wants_context = _input(name, signature, types_of, params)
        encode, output = _output(types_of.get("return", Any))
    except Exception as error:
        # Without what led there, which is deep inside pydantic.
        raise TypeError(f"tool {name!r}: {error}") from None
    definition: dict[str, Any] = {"name": name}
    definition |= {"title": title} if title else {}
    description = described if description is None else inspect.cleandoc(description)
    definition |= {"description": description} if description else {}
    definition["inputSchema"] = schema
    definition |= {"outputSchema": output} if output else {}
    annotations = hints.annotations()
    definition |= {"annotations": annotations} if annotations else {}
    definition |= {"_meta": meta} if meta else {}
    dumps(definition)
    return Tool(name, fn, _kind(fn, inline), definition, bind, encode, wants_context, timeout)


def _kind(fn: Callable[..., Any], inline: bool) -> Kind:
    call = getattr(fn, "__call__", None)
    if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
        raise TypeError("a tool returns once: it cannot be a generator; report progress through its Context")
    if inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(call):
        return "async"
    return "inline" if inline else "thread"


def _types(fn: Callable[..., Any]) -> dict[str, Any]:
    target: Any = fn
    while hasattr(target, "func"):  # functools.partial
        target = target.func
    if not inspect.isroutine(target):
        target = type(target).__call__
    try:
        return typing.get_type_hints(target, include_extras=True)
    except NameError as error:
        raise TypeError(f"{error}: types in the signature of a tool must be defined at the top of its module") from error


def _is_context(annotation: Any) -> bool:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return any(_is_context(part) for part in typing.get_args(annotation))
    return isinstance(annotation, type) and issubclass(annotation, Context)


def _input(
    name: str, signature: inspect.Signature, types_of: dict[str, Any], docs: dict[str, str]
) -> tuple[Bind, dict[str, Any], bool]:
    fields: dict[str, Any] = {}
    # For each parameter by position: where its value stands among the fields; -1 is the context.
    positions, keywords, extra = [], {}, False
    for parameter in signature.parameters.values():
        annotation = types_of.get(parameter.name, Any)
        place = -1 if _is_context(annotation) else len(fields)
        if parameter.kind is parameter.VAR_POSITIONAL:
            raise TypeError(f"*{parameter.name} has no name for a caller to use; take a list")
        if parameter.kind is parameter.VAR_KEYWORD:
            extra = True
            continue
        if parameter.kind is parameter.KEYWORD_ONLY:
            keywords[parameter.name] = place
        else:
            positions.append(place)
        if place >= 0:
            default = ... if parameter.default is parameter.empty else parameter.default
            fields[f"field_{place}"] = (_named(annotation, parameter.name, docs), default)
    config = ConfigDict(extra="allow" if extra else "forbid", arbitrary_types_allowed=False)
    model: Any = create_model(name, __config__=config, **fields)
    bind = _binder(model, positions, keywords, extra)
    return bind, _schema.of_model(model), -1 in positions or -1 in keywords.values()


def _named(annotation: Any, name: str, docs: dict[str, str]) -> Any:
    # Under its own name a field could be in the way of what a model has: copy, json, _private.
    own = Field(alias=name, description=docs.get(name) or None)
    if typing.get_origin(annotation) is typing.Annotated:
        base, *given = typing.get_args(annotation)
        return typing.Annotated[(base, own, *given)]
    return typing.Annotated[annotation, own]


def _binder(model: Any, positions: list[int], keywords: dict[str, int], extra: bool) -> Bind:
    validate, tool = model.__pydantic_validator__.validate_python, model.__name__

    def bind(arguments: dict[str, Any], context: Context | None) -> tuple[list[Any], dict[str, Any]]:
        try:
            read = validate(arguments)
        except ValidationError as error:
            raise ToolError(f"invalid arguments for {tool}:\n{_schema.faults(error)}") from None
        values = [*read.__dict__.values(), context]
        named = {name: values[place] for name, place in keywords.items()}
        if extra:
            named.update(read.__pydantic_extra__ or {})
        return [values[place] for place in positions], named

    return bind


def _output(annotation: Any) -> tuple[Encode, dict[str, Any] | None]:
    if annotation in (Any, object, str, None, type(None), typing.NoReturn, typing.Never) or _shows_content(annotation):
        return _content.members, None
    adapter: TypeAdapter[Any] = TypeAdapter(annotation)
    schema, wrapped = _schema.of_result(adapter)
    before, after = (b'{"result":', b"}") if wrapped else (b"", b"")

    def encode(value: Any) -> bytes:
        if isinstance(value, _content.Result):
            return _content.members(value)
        try:
            written = adapter.dump_json(adapter.validate_python(value), by_alias=True)
        except ValidationError as error:
            raise ToolError(f"the tool returned what its type does not allow:\n{_schema.faults(error)}") from None
        # A JSON string is shown as the text that it is.
        shown = _content.text(written if written.startswith(b'"') else dumps(written.decode()))
        return b"".join((shown, b',"structuredContent":', before, written, after))

    return encode, schema


def _shows_content(annotation: Any) -> bool:
    if annotation in (*_content.CONTENT, _content.Result):
        return True
    return any(_shows_content(part) for part in typing.get_args(annotation) if part is not annotation)
