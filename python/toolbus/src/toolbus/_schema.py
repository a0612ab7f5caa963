"""JSON Schemas of types, and what pydantic says when a value does not fit one."""

from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic.json_schema import GenerateJsonSchema

from toolbus._errors import shown

# Faults that a message names. A list of a thousand wrong items needs no thousand lines.
_MAX_FAULTS = 10


class Plain(GenerateJsonSchema):
    """Without a title for each field, which would only say its name again."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Never."""
        return False


def of_model(model: Any) -> dict[str, Any]:
    """The schema of an object with the fields of a model."""
    schema: dict[str, Any] = model.model_json_schema(schema_generator=Plain)
    schema.pop("title", None)
    schema.setdefault("properties", {})
    return schema


def of_result(adapter: TypeAdapter[Any]) -> tuple[dict[str, Any], bool]:
    """The schema of what a function returns, and whether it stands in the member `result` of an object.

    Before 2026-07-28 a structured result is an object, so that everything else is put into one.
    """
    schema = adapter.json_schema(mode="serialization", schema_generator=Plain)
    if _root(schema).get("type") == "object":
        return {"type": "object"} | schema, False
    wrapped: dict[str, Any] = {"type": "object", "properties": {"result": schema}, "required": ["result"]}
    if "$defs" in schema:
        wrapped["$defs"] = schema.pop("$defs")
    return wrapped, True


def _root(schema: dict[str, Any]) -> dict[str, Any]:
    name = str(schema.get("$ref", "")).removeprefix("#/$defs/")
    found: dict[str, Any] = schema.get("$defs", {}).get(name, schema)
    return found




def faults(error: ValidationError) -> str:
    """What does not fit, a line for each fault."""
    found = error.errors(include_url=False, include_context=False)
    lines = [_fault(dict(fault)) for fault in found[:_MAX_FAULTS]]
    if len(found) > _MAX_FAULTS:
        lines.append(f"... and {len(found) - _MAX_FAULTS} more")
    return "\n".join(lines)


def _fault(fault: dict[str, Any]) -> str:
    place = ".".join(str(part) for part in fault["loc"]) or "value"
    line = f"- {place}: {fault['msg']}"
    if fault["type"] in ("missing", "extra_forbidden", "unexpected_keyword_argument"):
        return line
    return f"{line} (got {shown(fault['input'])})"
