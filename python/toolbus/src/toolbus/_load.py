"""Finds what a file, a module or a folder serves: workers, servers of other packages, commands of skills, or plain functions."""

import importlib
import importlib.util
import inspect
import os
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from toolbus import _executor, _foreign, _run, _shadow, _skills
from toolbus._errors import explain
from toolbus._worker import Worker

_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")

_NOTHING = (
    "serves nothing: give it a Worker with tools, a FastMCP or MCPServer object, functions with @skill_command, an object "
    "with execute_tool(name, arguments), or public functions with type hints or docstrings"
)

# Files of one folder. More is a folder that nobody meant.
_MAX_FILES = 1000


# What was loaded before this process was forked.
_kept: dict[str, tuple[list[Any], list[str]]] = {}


class LoadError(Exception):
    """A file serves nothing, or cannot be read; the message has the remedy."""


def load(target: str) -> Any:
    """What `FILE`, `FILE:OBJECT`, a module or a folder serves as one: a `Worker`, or a server of another package."""
    found, problems = load_all(target)
    for problem in problems:
        print(f"toolbus: {problem}", file=sys.stderr)
    if len(found) == 1:
        return found[0]
    if not all(type(one) is Worker for one in found):
        raise LoadError(f"{target} has several servers; name one of its files, or serve it with python -m toolbus.runner")
    return _merged(Path(target).name, found)


def keep(target: str) -> None:
    """Loads a target now, for processes that are forked from this one."""
    _kept[_known_as(target)] = load_all(target)


def _known_as(target: str) -> str:
    return os.path.realpath(target) if os.path.exists(target) else target


def load_all(target: str) -> tuple[list[Any], list[str]]:
    """All that the target serves, and what is wrong with those files of a folder that serve nothing."""
    if (kept := _kept.get(_known_as(target))) is not None:
        return kept
    path, attribute = _split(target)
    if path.is_dir() and not attribute:
        return _folder(path)
    if path.suffix != ".py" and not path.exists() and _MODULE.fullmatch(str(path)):
        with _run.registering() as registered:
            module = _imported(str(path))
    else:
        with _run.registering() as registered:
            module = _module(path)
    return [_chosen(module, attribute, target) if attribute else _served(module, registered, str(path))], []


def _split(target: str) -> tuple[Path, str]:
    if not Path(target).exists() and ":" in target:
        target, _, attribute = target.rpartition(":")
        return Path(target), attribute
    return Path(target), ""


def _imported(name: str) -> ModuleType:
    # As `python -m` finds modules.
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise LoadError(f"{name} is no file, and no module that Python finds (it looks here and where packages are installed)") from None
        raise


def _module(file: Path) -> ModuleType:
    if not file.is_file():
        raise LoadError(f"{file} is no file")
    spec = importlib.util.spec_from_file_location(_name(file), file)
    if spec is None or spec.loader is None:
        raise LoadError(f"{file} is no Python file: its name ends in .py")
    _shadow.keep_own(str(file))
    folder = str(file.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _name(file: Path) -> str:
    name = file.stem if file.stem.isidentifier() else "main"
    if name not in sys.modules and name not in sys.stdlib_module_names:
        return name
    # Nobody who imports that name may get this file.
    name = unused = f"toolbus_file_{name}"
    further = 1
    while unused in sys.modules:
        further += 1
        unused = f"{name}_{further}"
    return unused


# One module.


def _served(module: ModuleType, registered: list[Any], file: str) -> Any:
    found = _declared(module, registered, file, None)
    return _of_functions(module, file, None) if found is None else found


def _declared(module: ModuleType, registered: list[Any], file: str, skill: str | None) -> Any:
    """What the module says that it serves; nothing where it only has functions."""
    found = registered or [value for name, value in vars(module).items() if not name.startswith("__") and _serves(value)]
    found = list({id(value): value for value in found}.values())
    if len(found) > 1:
        names = ", ".join(repr(name) for name, value in vars(module).items() if _serves(value))
        raise LoadError(f"{file} has several servers: {names}; name one of them, such as {file}:{_first_name(module)}")
    if found:
        return found[0]
    return _of_commands(module, skill) or _of_executor(module)


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
    if _executor.executes(value):
        return _executor.Executor(_stem(module), value)
    if not callable(value):
        raise LoadError(f"{target} is neither a server nor a function, but {type(value).__name__}")
    worker = _worker(module)
    command = _skills.marked(part, value)
    if command is not None:
        _add(worker, command, None)
    else:
        worker.tool()(value)
    return worker


def _stem(module: ModuleType) -> str:
    return Path(module.__file__ or "worker").stem


def _worker(module: ModuleType) -> Worker:
    return Worker(_stem(module), instructions=inspect.cleandoc(module.__doc__ or "") or None)


def _own(module: ModuleType) -> list[tuple[str, Any]]:
    return [(name, value) for name, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__]


def _of_commands(module: ModuleType, skill: str | None) -> Worker | None:
    worker = _worker(module)
    for name, value in _own(module):
        command = _skills.marked(name, value)
        if command is not None:
            _add(worker, command, skill)
    return worker if worker.tools else None


def _add(worker: Worker, command: _skills.Command, skill: str | None) -> None:
    tool = command.tool(skill)
    if tool.name in worker.tools:
        raise LoadError(f"{worker.name} has two commands {tool.name!r}: give one of them another name")
    worker.tools[tool.name] = tool


def _of_executor(module: ModuleType) -> Worker | None:
    objects = [value for name, value in vars(module).items() if not inspect.ismodule(value) and _executor.executes(value)]
    found = objects or ([module] if _executor.executes(module) else [])
    return _executor.Executor(_stem(module), found[0]) if found else None


def _of_functions(module: ModuleType, file: str, skill: str | None) -> Worker:
    worker = _worker(module)
    for name, value in _own(module):
        if inspect.isfunction(value) and not name.startswith("_") and (value.__doc__ or value.__annotations__):
            try:
                worker.tool(f"{skill}.{name}" if skill else name)(value)
            except TypeError as error:
                print(f"toolbus: {file}: not served: {error}", file=sys.stderr)
    if not worker.tools:
        raise LoadError(f"{file} {_NOTHING}")
    return worker


# A folder.


def _folder(folder: Path) -> tuple[list[Any], list[str]]:
    files = _files(folder)
    if len(files) > _MAX_FILES:
        raise LoadError(f"{folder} has {len(files)} Python files, and at most {_MAX_FILES} are loaded: name a folder of tools")
    found: dict[int, Any] = {}
    problems: list[str] = []
    plain: dict[int, tuple[ModuleType, str, str | None]] = {}
    skills: set[str | None] = set()
    for place, (file, skill) in enumerate(files):
        try:
            with _run.registering() as registered:
                module = _module(file)
            served = _declared(module, registered, str(file), skill)
            if served is None:
                plain[place] = module, str(file), skill
            elif _is_something(served):
                found[place] = served
                skills.add(skill)
        except LoadError as error:
            problems.append(str(error))
        except BaseException as error:
            problems.append(f"{file} cannot be loaded: {explain(error)}")
    # Beside the commands of a skill, functions are helpers.
    for place, (module, name, skill) in plain.items():
        if skill is None or skill not in skills:
            found |= {place: worker for worker in _plain_worker(module, name, skill)}
    if not found:
        why = "; ".join(problems) or "none of its .py files has tools"
        raise LoadError(f"{folder} serves nothing: {why}")
    servers = [found[place] for place in sorted(found)]
    _tell_apart(servers)
    return servers, problems


def _is_something(served: Any) -> bool:
    return type(served) is not Worker or bool(served.tools)


def _plain_worker(module: ModuleType, file: str, skill: str | None) -> list[Worker]:
    try:
        return [_of_functions(module, file, skill)]
    except LoadError:
        # A file of helpers is nothing wrong.
        return []


def _files(folder: Path) -> list[tuple[Path, str | None]]:
    """The files to load, and of which skill each is."""
    for skills in (folder / "assets" / "skills", folder / "skills", folder):
        scripts = sorted(skills.glob("*/scripts/*.py"))
        if scripts:
            return [(file, file.parent.parent.name) for file in scripts if _is_meant(file)]
    skill = folder.resolve().name if (folder / "SKILL.md").is_file() else None
    own = folder / "scripts" if skill else folder
    return [(file, skill) for file in sorted(own.glob("*.py")) if _is_meant(file)]


def _is_meant(file: Path) -> bool:
    return not file.name.startswith(("_", ".")) and file.name not in ("setup.py", "conftest.py")


def _tell_apart(found: list[Any]) -> None:
    """Two files with the same tool are a mistake that nobody may find out by chance."""
    seen: dict[str, str] = {}
    for worker in (one for one in found if isinstance(one, Worker)):
        for name in worker.tools:
            if name in seen:
                raise LoadError(f"two files have a tool {name!r}: {seen[name]}.py and {worker.name}.py; rename one of them")
            seen[name] = worker.name


def _merged(name: str, workers: list[Worker]) -> Worker:
    merged = Worker(name or "worker", threads=max(worker.threads for worker in workers))
    for worker in workers:
        merged.tools.update(worker.tools)
    return merged
