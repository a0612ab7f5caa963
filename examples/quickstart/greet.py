"""A worker of three lines: `import`, `Worker` and `run` are all that makes a function a tool of the mesh.

    python greet.py        in as many terminals as you like, while `toolbus up` runs
"""

import os

from toolbus import Worker

worker = Worker("greet")


@worker.tool(read_only=True)
def hello(name: str) -> str:
    """Say hello, and from which process."""
    return f"Hello, {name}! This is process {os.getpid()}."


worker.run()
