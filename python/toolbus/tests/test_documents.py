"""The files that the documents show are served, and do what the documents say."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from _peer import FORMS, ROOT, Host

SHOWN = [
    (page, name, body)
    for page in ("docs/sdk.md", "docs/mesh.md", "python/toolbus/README.md")
    for name, body in re.findall(r"^```python (\S+)\n(.*?)^```$", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)
]

# A call of each tool, and a piece of what it shows.
CALLS: dict[str, tuple[dict[str, Any], str]] = {
    "add": ({"a": 1, "b": 2}, "3"),
    "temperature": ({"city": "Zürich"}, "21.5"),
    "total": ({"items": [{"name": "a", "price": 2}, {"name": "b", "price": 3}]}, '"total":5'),
    "label": ({"name": "x"}, "x"),
    "crawl": ({"pages": 2}, "done"),
    "compute": ({"rounds": 2}, "1.0"),
    "hello": ({"name": "you"}, "Hello, you!"),
}


def test_there_are_examples() -> None:
    assert {name for _, name, _ in SHOWN} >= {"math.py", "weather.py", "shop.py", "steps.py"}


@pytest.mark.parametrize(("page", "name", "body"), SHOWN, ids=[name for _, name, _ in SHOWN])
def test_an_example(tmp_path: Path, host: Callable[..., Host], page: str, name: str, body: str) -> None:
    file = tmp_path / name
    file.write_text(body)
    peer = host(file).peer
    for tool in peer.tools():
        if tool == "remove":
            asks = peer.ask(tool, {"what": "all"}, caps=FORMS)
            assert asks["resultType"] == "input_required"
        else:
            arguments, shown = CALLS[tool]
            assert shown in peer.text(tool, arguments), (page, tool)


def test_the_bounds_are_those_of_the_code() -> None:
    from toolbus import _engine, _session, _threads

    rows = (ROOT / "docs/sdk.md").read_text()
    assert f"| calls under way in one process | {_engine.MAX_CALLS:,};" in rows
    assert f"| calls that wait for a person | {_engine.MAX_PARKED}, for {_engine.PARKED_FOR / 60:.0f} minutes each |" in rows
    assert f"| a result | {_session.MAX_RESULT // 1024**2} MiB |" in rows
    assert _threads.DEFAULT <= 32
