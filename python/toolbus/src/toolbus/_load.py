"""Finds what a file serves: a worker, a server of another package, or plain functions."""

import importlib.util
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from toolbus import _foreign, _run, _shadow
from toolbus._worker import Worker


class LoadError(Exception):
    """A file serves nothing, or cannot be read; the message has the remedy."""


def load(target: str) -> Any:
    """What `FILE` or `FILE:OBJECT` serves: a `Worker`, or a server of another package."""
    file, attribute = _split(target)
    with _run.registering() as registered:
        module = _module(file)
    if attribute:
        return _chosen(module, attribute, target)
    found = registered or [value for name, value in vars(module).items() if not name.startswith("__") and _serves(value)]
    found = list({id(value): value for value in found}.values())
    if len(found) > 1:
        names = ", ".join(repr(name) for name, value in vars(module).items() if _serves(value))
        raise LoadError(f"{file} has several servers: {names}; name one of them, such as {file}:{_first_name(module)}")
    return found[0] if found else _of_functions(module, file)


def _split(target: str) -> tuple[Path, str]:
    if not Path(target).exists() and ":" in target:
        target, _, attribute = target.rpartition(":")
        return Path(target), attribute
    return Path(target), ""


def _module(file: Path) -> ModuleType:
    if not file.is_file():
        raise LoadError(f"{file} is no file")
    name = file.stem if file.stem.isidentifier() else "main"
    if name in sys.modules or name in sys.stdlib_module_names:
        # Nobody who imports that name may get this file.
        name = f"toolbus_file_{name}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise LoadError(f"{file} is no Python file: its name ends in .py")
    _shadow.keep_own(str(file))
    sys.path.insert(0, str(file.resolve().parent))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _serves(value: object) -> bool:
    return isinstance(value, Worker) or _foreign.is_server(value)


def _first_name(module: ModuleType) -> str:
    return next(name for name, value in vars(module).items() if _serves(value))


def _chosen(module: ModuleType, attribute: str, target: str) -> Any:
    value: Any = module
    for part in attribute.split("."):
        if not hasattr(value, part):
            raise LoadError(f"{target}: there is no {part!r}")
        value = getattr(value, part)
    if _serves(value):
        return value
    if not callable(value):
        raise LoadError(f"{target} is neither a server nor a function, but {type(value).__name__}")
    worker = _worker(module)
    worker.tool()(value)
    return worker


def _worker(module: ModuleType) -> Worker:
    return Worker(Path(module.__file__ or "worker").stem, instructions=inspect.cleandoc(module.__doc__ or "") or None)


def _of_functions(module: ModuleType, file: Path) -> Worker:
    worker = _worker(module)
    for name, value in vars(module).items():
        mine = inspect.isfunction(value) and value.__module__ == module.__name__
        if mine and not name.startswith("_") and (value.__doc__ or value.__annotations__):
            try:
                worker.tool(name)(value)
            except TypeError as error:
                print(f"toolbus: {file}: not served: {error}", file=sys.stderr)
    if not worker.tools:
        raise LoadError(
            f"{file} serves nothing: give it a Worker with tools, a FastMCP or MCPServer object, or public functions with "
            "type hints or docstrings"
        )
    return worker
