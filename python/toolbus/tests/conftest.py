"""Processes that the tests start, and end."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from _peer import Host, Peer, written


@pytest.fixture
def host() -> Iterator[Callable[..., Host]]:
    """Starts hosts; they end with the test."""
    started: list[Host] = []

    def start(*arguments: object) -> Host:
        started.append(Host(*arguments))
        return started[-1]

    yield start
    for one in started:
        one.end()


@pytest.fixture
def serve(tmp_path: Path, host: Callable[..., Host]) -> Callable[[str], Peer]:
    """Serves a source; answers with the peer of its host."""
    return lambda source: host(written(tmp_path, source)).peer
