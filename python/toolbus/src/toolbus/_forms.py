"""Questions to the person behind a caller: the form that a type stands for, and what came back."""

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from toolbus import _schema
from toolbus._errors import ToolError

if TYPE_CHECKING:
    from toolbus._calls import Call

T = TypeVar("T")

# How often a person is asked again whose answer does not fit.
_ASKED_AGAIN = 2

_SIMPLE = {"string", "number", "integer", "boolean"}


@dataclass(frozen=True, slots=True)
class Elicited(Generic[T]):
    """An answer: `data` is there where the person accepted."""

    action: Literal["accept", "decline", "cancel"]
    data: T | None = None


async def elicit(call: "Call", message: str, schema: type[T]) -> Elicited[T]:
    """Asks until the answer fits, or often enough."""
    adapter, form, wrapped = _form(cast(Any, schema))
    question = message
    for _ in range(_ASKED_AGAIN + 1):
        answer = await call.ask(question, form)
        action = answer.get("action")
        if action not in ("accept", "decline", "cancel"):
            raise ToolError(f"the client's answer has the action {action!r}, which MCP does not know")
        if action != "accept":
            return Elicited(cast(Literal["decline", "cancel"], action))
        content = answer.get("content")
        value = content.get("value") if wrapped and isinstance(content, dict) else content
        try:
            return Elicited("accept", adapter.validate_python(value))
        except ValidationError as error:
            question = f"{message}\n(The last answer does not fit:\n{_schema.faults(error)})"
    raise ToolError("the answers did not fit the form")


@cache
def _form(schema: Any) -> tuple[TypeAdapter[Any], dict[str, Any], bool]:
    adapter: TypeAdapter[Any] = TypeAdapter(schema)
    found = adapter.json_schema(schema_generator=_schema.Plain)
    defs = found.pop("$defs", {})
    found = _inlined(found, defs)
    found.pop("title", None)
    wrapped = found.get("type") != "object"
    properties = {"value": found} if wrapped else found.get("properties")
    if properties is None:
        raise TypeError("a form cannot ask for members of any name: use a model with fields")
    form: dict[str, Any] = {"type": "object"}
    form["properties"] = {name: _field(name, _inlined(field, defs)) for name, field in properties.items()}
    required = ["value"] if wrapped else found.get("required")
    return adapter, form | ({"required": required} if required else {}), wrapped


def _inlined(schema: dict[str, Any], defs: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in schema:
        return dict(schema)
    beside = {name: value for name, value in schema.items() if name != "$ref"}
    return {**defs[schema["$ref"].removeprefix("#/$defs/")], **beside}


def _field(name: str, field: dict[str, Any]) -> dict[str, Any]:
    some = [part for part in field.get("anyOf", ()) if part.get("type") != "null"]
    if len(some) == 1:
        # That a field may be left out is said by `required`.
        beside = {key: value for key, value in field.items() if key != "anyOf" and value is not None}
        field = {**some[0], **beside}
    if "const" in field:
        field = {**field, "enum": [field["const"]]}
        del field["const"]
    choices = field.get("type") == "array" and "enum" in field.get("items", {})
    if field.get("type") not in _SIMPLE and not choices:
        raise TypeError(f"a form cannot ask for {name!r}: use text, numbers, booleans, or choices of text")
    return field
