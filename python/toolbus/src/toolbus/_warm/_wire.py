"""Messages between processes: a length, JSON, and with it descriptors."""

import json
import os
import select
import socket
from collections.abc import Iterable
from typing import Any

Message = dict[str, Any]

# A command line and its environment have at most 2 MiB on Linux; JSON may escape some of it.
MAX_FRAME = 8 * 1024 * 1024

# Standard input, output, error, and the side channel.
MAX_FDS = 4

# What has begun to arrive was written in one go.
REST_WITHIN = 10.0


class WireError(Exception):
    """The other end does not keep to the protocol."""


class Wire:
    """One end of a stream socket on which both ends say messages."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        end.settimeout(REST_WITHIN)

    def fileno(self) -> int:
        """For those who wait for a message."""
        return self._socket.fileno()

    def wait(self, within: float | None = None) -> bool:
        """Waits until something is there, a message or the end; false where nothing is after so many seconds."""
        waiting = select.poll()
        waiting.register(self._socket, select.POLLIN)
        return bool(waiting.poll(None if within is None else within * 1000))

    def send(self, message: Message, fds: Iterable[int] = ()) -> None:
        """Says a message, with these descriptors."""
        body = json.dumps(message).encode()
        data = len(body).to_bytes(4, "little") + body
        passed = list(fds)
        sent = socket.send_fds(self._socket, [data], passed) if passed else 0
        # Nothing is nothing: whoever had it all may be gone by now.
        if sent < len(data):
            self._socket.sendall(data[sent:])

    def receive(self) -> tuple[Message, list[int]] | None:
        """The next message and its descriptors, or nothing once the other end is gone."""
        head, fds, _, _ = socket.recv_fds(self._socket, 4, MAX_FDS, socket.MSG_CMSG_CLOEXEC)
        if not head:
            return None
        try:
            length = int.from_bytes(head + self._exactly(4 - len(head)), "little")
            if length > MAX_FRAME:
                raise WireError(f"a message of {length} bytes; at most {MAX_FRAME} are taken")
            message = json.loads(self._exactly(length))
        except BaseException:
            close(fds)
            raise
        return message, fds

    def _exactly(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            piece = self._socket.recv(min(count - len(data), 64 * 1024))
            if not piece:
                raise WireError("the other end went away in the middle of a message")
            data += piece
        return bytes(data)

    def close(self) -> None:
        """Lets go of this end."""
        self._socket.close()


def close(fds: Iterable[int]) -> None:
    """Closes descriptors."""
    for fd in fds:
        os.close(fd)
