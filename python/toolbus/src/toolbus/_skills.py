"""Functions that a decorator has marked as commands of a skill: ours, or one of another package, known by what it left."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar, overload

from pydantic_core import PydanticSerializationError

from toolbus import _content, _tool

F = TypeVar("F", bound=Callable[..., Any])

# Where our own decorator leaves what it was told.
_OWN = "__toolbus_command__"

# Parts of the names under which other decorators do.
_FOREIGN = ("skill", "command", "tool")

# How annotations are spelt by decorators, and by MCP.
_HINTS = {
    "read_only": ("read_only", "readOnlyHint", "read_only_hint", "readonly"),
    "destructive": ("destructive", "destructiveHint", "destructive_hint"),
    "idempotent": ("idempotent", "idempotentHint", "idempotent_hint"),
    "open_world": ("open_world", "openWorldHint", "open_world_hint"),
}


@overload
def skill_command(name: F, /) -> F: ...


@overload
def skill_command(
    name: str | None = None,
    *,
    title: str | None = None,
    description: str | None = None,
    category: str | None = None,
    read_only: bool | None = None,
    destructive: bool | None = None,
    idempotent: bool | None = None,
    open_world: bool | None = None,
    timeout: float | None = None,
) -> Callable[[F], F]: ...


def skill_command(
    name: str | F | None = None,
    *,
    title: str | None = None,
    description: str | None = None,
    category: str | None = None,
    read_only: bool | None = None,
    destructive: bool | None = None,
    idempotent: bool | None = None,
    open_world: bool | None = None,
    timeout: float | None = None,
) -> F | Callable[[F], F]:
    """Marks a function as a command of the skill whose script it stands in. The function stays what it is.

    Below `assets/skills/SKILL/scripts` its tool is called `SKILL.NAME`. A result that JSON cannot write is given as
    `{"value": "...", "_serialized": true}`. The arguments are those of `Worker.tool`; `category` goes into `_meta`.
    """
    said: dict[str, Any] = {"title": title, "description": description, "category": category, "read_only": read_only}
    said |= {"destructive": destructive, "idempotent": idempotent, "open_world": open_world, "timeout": timeout}

    def mark(fn: F) -> F:
        setattr(fn, _OWN, said | {"name": name if isinstance(name, str) else None})
        return fn

    return mark if name is None or isinstance(name, str) else mark(name)


@dataclass(frozen=True, slots=True)
class Command:
    """A marked function, and what the mark says."""

    name: str
    fn: Callable[..., Any]
    said: Mapping[str, Any]

    def tool(self, skill: str | None) -> _tool.Tool:
        """The tool; raises TypeError or ValueError where it cannot be one."""
        hints = {name: _flag(self.said, spellings) for name, spellings in _HINTS.items()}
        category = self.said.get("category")
        made = _tool.make(
            self.fn,
            name=f"{skill}.{self.name}" if skill and not self.name.startswith(f"{skill}.") else self.name,
            title=_text(self.said, "title"),
            description=_text(self.said, "description"),
            hints=_tool.Hints(**hints),
            timeout=self.said.get("timeout") if isinstance(self.said.get("timeout"), (int, float)) else None,
            inline=False,
            meta={"toolbus/category": category} if isinstance(category, str) else None,
        )
        return replace(made, encode=_lenient(made.encode))


def marked(name: str, value: Any) -> Command | None:
    """The command that a function of this name is, if a decorator has marked it."""
    if not callable(value) or inspect.isclass(value):
        return None
    said = _said(value)
    if said is None:
        return None
    given = said.get("name")
    return Command(given if isinstance(given, str) and given else name, value, said)


def _said(fn: Any) -> Mapping[str, Any] | None:
    left = getattr(fn, "__dict__", {})
    if isinstance(left.get(_OWN), dict):
        own: dict[str, Any] = left[_OWN]
        return own
    is_marked = False
    for name, value in left.items():
        if not any(part in name.lower() for part in _FOREIGN):
            continue
        said = value if isinstance(value, Mapping) else getattr(value, "__dict__", None)
        if isinstance(said, Mapping) and ("name" in said or "description" in said):
            return _flat(said)
        is_marked |= value is True
    return {} if is_marked else None


def _flat(said: Mapping[str, Any]) -> dict[str, Any]:
    # Annotations may stand by themselves.
    inner = said.get("annotations")
    inner = inner if isinstance(inner, Mapping) else getattr(inner, "__dict__", {})
    return {**inner, **said}


def _text(said: Mapping[str, Any], name: str) -> str | None:
    value = said.get(name)
    return value if isinstance(value, str) and value else None


def _flag(said: Mapping[str, Any], spellings: tuple[str, ...]) -> bool | None:
    found = (said[spelling] for spelling in spellings if isinstance(said.get(spelling), bool))
    return next(found, None)


def _lenient(encode: _tool.Encode) -> _tool.Encode:
    def encode_anything(value: Any) -> bytes:
        try:
            return encode(value)
        except (PydanticSerializationError, TypeError, ValueError):
            return _content.members({"value": str(value), "_serialized": True})

    return encode_anything
