"""The plays of `pairs.py` with a mesh in the way: a worker serves all servers, and the gateway has nothing but the mesh.

    pairs_mesh.py [CLIENT...]

Without clients, the Python package `mcp` plays; the others differ at the doors, which are the same here.
"""

import asyncio
import sys
from contextlib import ExitStack
from pathlib import Path

import pairs
from _mesh import Broker, Worker
from _plays import CLIENTS, Stage
from _servers import SERVERS, started
from _support import Checks, Gateway, run


async def main(checks: Checks, folder: Path) -> None:
    pairs.ONE_DIALECT = True
    names = sys.argv[1:] or ["python"]
    wanted = [client for client in CLIENTS if client.name in names]
    checks.equal("the clients exist", sorted(client.name for client in wanted), sorted(names))
    with started(folder) as urls, ExitStack() as stack:
        sections = "\n".join(server.section(folder, urls) for server in SERVERS)
        (folder / "worker.toml").write_text(sections)
        broker = stack.enter_context(Broker(folder / "nats"))
        stack.enter_context(Worker(broker, folder, 1, str(folder / "worker.toml")))
        gateway = stack.enter_context(
            Gateway(checks, folder / "up", broker.section(), wait=False, settings="prefix_names = true")
        )
        stage = Stage(folder, urls, gateway.at, pairs.ready(checks, gateway), pairs.has_sse_door(checks, gateway))
        places = asyncio.Semaphore(pairs.AT_ONCE)

        async def in_its_place(client) -> None:
            async with places:
                with checks.group(f"{client.name} plays to the end"):
                    await pairs.one_client(checks, client, stage)

        async with asyncio.TaskGroup() as tasks:
            for client in wanted:
                tasks.create_task(in_its_place(client))


if __name__ == "__main__":
    run(main, within=390)
