"""A mesh for the scripts of this folder: a nats-server of their own, workers, and gateways that have nothing but the mesh."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

from _support import HERE, PATIENCE, PYTHON, TOOLBUS, descendants, is_running, eventually

NATS_SERVER = str(Path(PYTHON).with_name("nats-server"))


class Broker:
    """A nats-server at a free port, with a store of its own; it is killed when it is left."""

    def __init__(self, folder: Path, configuration: str = "") -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        command = [NATS_SERVER, "-a", "127.0.0.1", "-p", "-1", "-js", "-sd", str(folder / "store")]
        if configuration:
            (folder / "nats.conf").write_text(configuration)
            command += ["-c", str(folder / "nats.conf")]
        command += ["--ports_file_dir", str(folder)]
        with (folder / "nats.log").open("ab") as log:
            self.child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        ports = folder / f"nats-server_{self.child.pid}.ports"
        if not eventually(lambda: ports.exists() and ports.read_text().strip().endswith("}")):
            self.child.kill()
            raise RuntimeError(f"nats-server does not listen: {(folder / 'nats.log').read_text()[-500:]}")
        self.url = json.loads(ports.read_text())["nats"][0]

    def section(self, more: str = "") -> str:
        """The gateway's section of it."""
        return f"[mesh]\nurl = {json.dumps(self.url)}\n{more}\n"

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        self.child.kill()
        self.child.wait()


class Worker:
    """`toolbus worker` with these words; when it is left, it must not leave anything behind."""

    def __init__(self, broker: Broker, folder: Path, number: int, *words: str, name: str | None = None) -> None:
        self.log = folder / f"worker-{number}.log"
        self.folder = folder / f"worker-{number}"
        self.folder.mkdir(exist_ok=True)
        named = ["--name", name] if name else []
        command = [TOOLBUS, "worker", "--nats", broker.url, *named, *words]
        environment = {**os.environ, "XDG_STATE_HOME": str(self.folder)}
        with self.log.open("ab") as log:
            self.child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
            )

    def last_words(self) -> str:
        return self.log.read_text(errors="replace")[-1500:]

    def below(self) -> list[int]:
        """Everything that it has started."""
        return descendants(self.child.pid)

    def kill(self) -> float:
        """Kills it at once, and says when."""
        self.child.send_signal(signal.SIGKILL)
        killed = time.monotonic()
        self.child.wait()
        return killed

    def drain(self) -> int:
        """Asks it to end, and waits for it."""
        self.child.send_signal(signal.SIGTERM)
        return self.child.wait(PATIENCE)

    def __enter__(self):
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        if kind is not None:
            print(self.last_words())
        below = self.below()
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait()
        eventually(lambda: not any(map(is_running, below)), within=5)


def peer(package: str, name: str) -> list[str]:
    """A server of `_peer.py`, as a worker is told it."""
    return ["--", PYTHON, str(HERE / "_peer.py"), package, "stdio", name]
