"""Objects with `execute_tool(name, arguments)`, and whatever lists their tools."""

import asyncio
import inspect
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pydantic_core import to_jsonable_python

from toolbus import _content
from toolbus._errors import ToolError
from toolbus._json import dumps
from toolbus._tool import Tool
from toolbus._worker import Worker

# Names of tools that nobody listed and that were called nevertheless.
_MAX_UNLISTED = 1024

_ANY = {"type": "object"}


class Executor(Worker):
    """A worker whose tools are run by an object: `execute_tool(name, arguments)`, which may be a coroutine.

    `list_tools()`, where the object has it, gives names, dicts as MCP has them, or objects with such members. Without it
    nothing is listed, and every name is handed to the object.
    """

    def __init__(self, name: str, target: Any) -> None:
        super().__init__(name)
        self._run, self.lists = target.execute_tool, callable(getattr(target, "list_tools", None))
        self._unlisted = 0
        if self.lists:
            for definition in map(_definition, _listed(target.list_tools)):
                self.tools[definition["name"]] = self._tool(definition)

    def knows(self, name: str) -> bool:
        """Whether the object is to be asked for this tool."""
        if name in self.tools:
            return True
        if self.lists or self._unlisted >= _MAX_UNLISTED:
            return False
        self._unlisted += 1
        self.tools[name] = self._tool({"name": name, "inputSchema": _ANY})
        return True

    def _tool(self, definition: dict[str, Any]) -> Tool:
        name = definition["name"]
        is_async = inspect.iscoroutinefunction(self._run)

        def bind(arguments: dict[str, Any], _: Any) -> tuple[list[Any], dict[str, Any]]:
            return [name, arguments], {}

        return Tool(name, self._run, "async" if is_async else "thread", definition, bind, members, False, None)


def executes(value: object) -> bool:
    """Whether this is an object that runs tools by their names."""
    return not inspect.isclass(value) and callable(getattr(value, "execute_tool", None))


def members(value: Any) -> bytes:
    """What `execute_tool` returned, as the members of a result; it may be a whole result, or fail as one."""
    if hasattr(value, "model_dump"):
        value = value.model_dump(mode="json", by_alias=True, exclude_none=True)
    if not isinstance(value, Mapping) or not isinstance(value.get("content"), list):
        return _content.members(value)
    is_error = value.get("isError", value.get("is_error", False))
    kept = {"content": [_plain(item) for item in value["content"]]}
    structured = value.get("structuredContent", value.get("structured_content"))
    kept |= {"structuredContent": to_jsonable_python(structured)} if structured is not None else {}
    return dumps(kept | ({"isError": True} if is_error else {}))[1:-1]


def _plain(item: Any) -> Any:
    return {"type": "text", "text": item} if isinstance(item, str) else to_jsonable_python(item, by_alias=True, exclude_none=True)


def _listed(list_tools: Callable[[], Any]) -> list[Any]:
    found = list_tools()
    if inspect.iscoroutine(found):
        # Not here: a loop may be running.
        with ThreadPoolExecutor(1) as elsewhere:
            found = elsewhere.submit(asyncio.run, found).result()
    found = getattr(found, "tools", found)
    return [dict(definition, name=name) for name, definition in found.items()] if isinstance(found, Mapping) else list(found)


def _definition(item: Any) -> dict[str, Any]:
    if isinstance(item, str):
        return {"name": item, "inputSchema": _ANY}
    if hasattr(item, "model_dump"):
        item = item.model_dump(mode="json", by_alias=True, exclude_none=True)
    said = item if isinstance(item, Mapping) else vars(item)
    name, schema = said.get("name"), said.get("inputSchema") or said.get("input_schema") or said.get("parameters")
    if not isinstance(name, str) or not name:
        raise ToolError(f"list_tools gave {item!r}, which has no name")
    kept = {key: said[key] for key in ("title", "description", "outputSchema", "annotations", "_meta") if said.get(key)}
    definition: dict[str, Any] = {"name": name} | kept | {"inputSchema": schema if isinstance(schema, dict) else _ANY}
    dumps(definition)
    return definition
