"""What a docstring says: of the function, and of each parameter. Google's, NumPy's and Sphinx's styles are read."""

import inspect
import re

_SECTION = re.compile(
    r"(Args|Arguments|Parameters|Params|Returns?|Yields|Raises|Examples?|Notes?|Attributes|See Also|Warnings?|Todo|References):?"
)
_GOOGLE = re.compile(r"(\s+)\*{0,2}(\w+)\s*(?:\([^)]*\))?:\s*(.*)")
_NUMPY = re.compile(r"\*{0,2}(\w+(?:\s*,\s*\w+)*)\s*(?::.*)?")
_SPHINX = re.compile(r":param\s+(?:[^:]*\s)?(\w+):\s*(.*)")
_FIELD = re.compile(r":(type|param|arg|returns?|rtype|raises?|meta)\b[^:]*:")


def read(docstring: str | None) -> tuple[str, dict[str, str]]:
    """The description of a function, and those of its parameters."""
    lines = inspect.cleandoc(docstring or "").splitlines()
    described, params = len(lines), {}
    for n, line in enumerate(lines):
        if _FIELD.match(line):
            described = min(described, n)
            params.update(_sphinx(lines[n:]))
            break
        underlined = n + 1 < len(lines) and bool(re.fullmatch(r"-{3,}", lines[n + 1].strip()))
        section = _SECTION.fullmatch(line)
        if section and (line.endswith(":") or underlined):
            described = min(described, n)
            if section[1] in ("Args", "Arguments", "Parameters", "Params"):
                params.update(_numpy(lines[n + 2 :]) if underlined else _google(lines[n + 1 :]))
    return "\n".join(lines[:described]).strip(), params


def _google(lines: list[str]) -> dict[str, str]:
    params: dict[str, str] = {}
    indent, name = None, ""
    for line in lines:
        if line and not line[0].isspace():
            break
        entry = _GOOGLE.fullmatch(line)
        if entry and (indent is None or len(entry[1]) <= indent):
            indent, name = len(entry[1]), entry[2]
            params[name] = entry[3].strip()
        elif name:
            params[name] = f"{params[name]} {line.strip()}".strip()
    return params


def _numpy(lines: list[str]) -> dict[str, str]:
    params: dict[str, str] = {}
    names: list[str] = []
    for n, line in enumerate(lines):
        if n + 1 < len(lines) and re.fullmatch(r"-{3,}", lines[n + 1].strip()):
            break
        if line and not line[0].isspace():
            entry = _NUMPY.fullmatch(line)
            names = re.split(r"\s*,\s*", entry[1]) if entry else []
            params.update({name: "" for name in names})
        for name in names if line[:1].isspace() else ():
            params[name] = f"{params[name]} {line.strip()}".strip()
    return params


def _sphinx(lines: list[str]) -> dict[str, str]:
    params: dict[str, str] = {}
    name = ""
    for line in lines:
        entry = _SPHINX.fullmatch(line)
        if entry:
            name = entry[1]
            params[name] = entry[2].strip()
        elif _FIELD.match(line) or not line.strip():
            name = ""
        elif name:
            params[name] = f"{params[name]} {line.strip()}"
    return params
