"""A nats-server of its own for a script: at a free port of loopback, with its store in the script's folder."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from _support import eventually

BINARY = Path(sys.executable).with_name("nats-server")


class Broker:
    """Killed when it is left. `more` are further lines of its configuration."""

    def __init__(self, folder: Path, name: str = "nats", more: str = "jetstream {}") -> None:
        self.folder = folder / name
        self.folder.mkdir()
        more = more.replace("jetstream {}", f'jetstream {{ store_dir: "{self.folder}" }}')
        (self.folder / "nats.conf").write_text(f"{more}\n")
        self.start("-1")

    def start(self, port: str) -> None:
        ports, config = tempfile.mkdtemp(dir=self.folder), self.folder / "nats.conf"
        command = [str(BINARY), "-c", str(config), "-a", "127.0.0.1", "-p", port, "--ports_file_dir", ports]
        with (self.folder / "log").open("ab") as log:
            self.child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.url = ""

        def is_up() -> bool:
            for file in Path(ports).glob("*.ports"):
                self.url = json.loads(file.read_text() or "{}").get("nats", [""])[0]
            return bool(self.url)

        if not eventually(is_up):
            self.kill()
            raise RuntimeError("nats-server did not start: " + (self.folder / "log").read_text()[-500:])

    def again(self) -> None:
        """The same server at the same place, with what it kept."""
        self.start(self.url.rpartition(":")[2])

    def kill(self) -> None:
        self.child.kill()
        self.child.wait()

    def __enter__(self) -> "Broker":
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
