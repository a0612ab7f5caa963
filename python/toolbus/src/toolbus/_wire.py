"""What carries the lines: standard streams and Unix sockets, for our own sessions and for others' servers."""

import asyncio
import os
import stat
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, Literal

from toolbus._session import MAX_LINE, Session


# Bytes that are copied at once.
_PIECE = 64 * 1024


class _Input(asyncio.Protocol):
    """The reading half of a session on two pipes."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def connection_made(self, transport: Any) -> None:
        self._session.reads_from(transport)

    def data_received(self, data: bytes) -> None:
        self._session.data_received(data)

    def connection_lost(self, error: Exception | None) -> None:
        self._session.eof_received()


async def serve_pipes(session: Session, source: int, sink: int) -> None:
    """Serves a session on two file descriptors until its client is gone."""
    loop = session.engine.loop
    await loop.connect_write_pipe(lambda: session, os.fdopen(_piped(sink, "w"), "wb", buffering=0))
    await loop.connect_read_pipe(lambda: _Input(session), os.fdopen(_piped(source, "r"), "rb", buffering=0))
    await session.over


def _piped(fd: int, mode: Literal["r", "w"]) -> int:
    """What the loop can wait for: pipes, sockets and terminals as they are, files through a pipe."""
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    source, sink = os.pipe()
    ours, (here, there) = (source, (fd, sink)) if mode == "r" else (sink, (source, fd))

    def pump() -> None:
        with open(here, "rb", buffering=0) as read, open(there, "wb", buffering=0) as write, suppress(BrokenPipeError):
            while data := read.read(_PIECE):
                write.write(data)

    # What is written has to reach its file before the process ends; what is read is of no use to it then.
    threading.Thread(target=pump, daemon=mode == "r").start()
    return ours


async def streams(source: int, sink: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """The two file descriptors as streams."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=MAX_LINE)
    pipe = os.fdopen(_piped(source, "r"), "rb", buffering=0)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    out = os.fdopen(_piped(sink, "w"), "wb", buffering=0)
    transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, out)
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


class TextLines:
    """A stream as the asynchronous text file that the MCP packages read and write."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def __aiter__(self) -> AsyncIterator[str]:
        while line := await self._reader.readline():
            yield line.decode(errors="replace")

    async def write(self, text: str) -> None:
        """Writes, and waits for a client that does not keep up."""
        self._writer.write(text.encode())
        await self._writer.drain()

    async def flush(self) -> None:
        """Nothing is kept back."""
