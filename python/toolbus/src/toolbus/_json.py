"""JSON as bytes: orjson where it is installed, the standard library otherwise and for what orjson would change."""

import importlib
import json
import re
from contextlib import suppress
from typing import Any, Never

_orjson: Any = None
with suppress(ImportError):
    _orjson = importlib.import_module("orjson")

# orjson reads integers beyond 64 bits as floats.
_LONG_NUMBER = re.compile(rb"\d{19}")


def _refuse(constant: str) -> Never:
    raise ValueError(f"{constant} is no JSON")


_decode = json.JSONDecoder(parse_constant=_refuse).decode
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_encode_ascii = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode


def loads(text: bytes) -> Any:
    """Reads JSON; raises ValueError or RecursionError."""
    if _orjson is not None and not _LONG_NUMBER.search(text):
        with suppress(ValueError):
            return _orjson.loads(text)
    return _decode(text.decode())


def dumps(value: Any) -> bytes:
    """Writes JSON without line breaks; raises ValueError or TypeError."""
    if _orjson is not None:
        with suppress(TypeError):
            # NaN would become null.
            if not isinstance(value, float):
                written: bytes = _orjson.dumps(value)
                return written
    try:
        return _encode(value).encode()
    except UnicodeEncodeError:
        # Half of a surrogate pair can only be written escaped.
        return _encode_ascii(value).encode()
