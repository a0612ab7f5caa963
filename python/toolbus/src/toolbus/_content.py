"""What a tool can return, and how it is written into a result of `tools/call`."""

import base64
import mimetypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic_core import to_json

from toolbus._json import dumps


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of text."""

    text: str

    def block(self) -> dict[str, Any]:
        """As MCP writes it."""
        return {"type": "text", "text": self.text}


@dataclass(frozen=True, slots=True)
class _Media:
    data: bytes | None = None
    mime: str | None = None
    path: str | Path | None = None

    def _block(self, kind: str) -> dict[str, Any]:
        if (self.data is None) == (self.path is None):
            raise ValueError(f"{type(self).__name__} takes either data or path")
        data = Path(self.path).read_bytes() if self.path is not None else self.data or b""
        guessed = mimetypes.guess_type(str(self.path))[0] if self.path is not None else None
        mime = self.mime or guessed
        if mime is None:
            raise ValueError(f"{type(self).__name__} needs mime, such as mime='{kind}/png'")
        return {"type": kind, "data": base64.b64encode(data).decode(), "mimeType": mime}


@dataclass(frozen=True, slots=True)
class Image(_Media):
    """A picture: its bytes with their type (`Image(png, "image/png")`), or a file (`Image(path="plot.png")`)."""

    def block(self) -> dict[str, Any]:
        """As MCP writes it."""
        return self._block("image")


@dataclass(frozen=True, slots=True)
class Audio(_Media):
    """A recording: its bytes with their type (`Audio(wav, "audio/wav")`), or a file (`Audio(path="note.wav")`)."""

    def block(self) -> dict[str, Any]:
        """As MCP writes it."""
        return self._block("audio")


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource with its contents, text or bytes."""

    uri: str
    contents: str | bytes
    mime: str | None = None

    def block(self) -> dict[str, Any]:
        """As MCP writes it."""
        resource: dict[str, Any] = {"uri": self.uri}
        if self.mime is not None:
            resource["mimeType"] = self.mime
        if isinstance(self.contents, bytes):
            resource["blob"] = base64.b64encode(self.contents).decode()
        else:
            resource["text"] = self.contents
        return {"type": "resource", "resource": resource}


@dataclass(frozen=True, slots=True)
class ResourceLink:
    """A resource without its contents."""

    uri: str
    name: str
    title: str | None = None
    description: str | None = None
    mime: str | None = None
    size: int | None = None

    def block(self) -> dict[str, Any]:
        """As MCP writes it."""
        block: dict[str, Any] = {"type": "resource_link", "uri": self.uri, "name": self.name, "title": self.title}
        block |= {"description": self.description, "mimeType": self.mime, "size": self.size}
        return {name: value for name, value in block.items() if value is not None}


Content = Text | Image | Audio | Resource | ResourceLink
"""Everything that a result can show."""


@dataclass(frozen=True, slots=True)
class Result:
    """A whole result, where more is to be said than by returning a value."""

    content: Sequence[Content | str | Mapping[str, Any]] = ()
    structured: Any = None
    is_error: bool = False


CONTENT = (Text, Image, Audio, Resource, ResourceLink)

_KINDS = {"text": "text", "image": "data", "audio": "data", "resource": "resource", "resource_link": "uri"}


def is_content(value: object) -> bool:
    """Whether this is a content block: one of the classes, or a dict that reads as one."""
    if isinstance(value, CONTENT):
        return True
    if not isinstance(value, dict) or not isinstance(value.get("type"), str):
        return False
    return _KINDS.get(value["type"], "") in value


def members(value: object) -> bytes:
    """A value of no declared type, as the members of a result object, without its braces."""
    if value is None:
        return b'"content":[]'
    if isinstance(value, str):
        return text(dumps(value))
    if isinstance(value, Result):
        return _result(value)
    if is_content(value):
        return _shown([value])
    if isinstance(value, (list, tuple)) and any(is_content(item) for item in value):
        return _shown(value)
    if isinstance(value, (bytes, bytearray)):
        raise TypeError("a tool cannot return bare bytes: return toolbus.Image, toolbus.Audio or toolbus.Resource")
    written = to_json(value, inf_nan_mode="null")
    shown = text(dumps(written.decode()))
    return shown + b',"structuredContent":' + written if written.startswith(b"{") else shown


def text(quoted: bytes) -> bytes:
    """The members of a result that shows one text, which is JSON already."""
    return b'"content":[{"type":"text","text":' + quoted + b"}]"


def failure(message: str) -> bytes:
    """The members of a result that says what went wrong."""
    return text(dumps(message)) + b',"isError":true'


def _result(result: Result) -> bytes:
    written = _shown(result.content)
    if result.structured is not None:
        written += b',"structuredContent":' + to_json(result.structured)
    if result.is_error:
        written += b',"isError":true'
    return written


def _shown(items: Sequence[object]) -> bytes:
    return b'"content":' + dumps([_block(item) for item in items])


def _block(item: object) -> Any:
    if isinstance(item, CONTENT):
        return item.block()
    if is_content(item):
        return item
    return {"type": "text", "text": item if isinstance(item, str) else to_json(item).decode()}
