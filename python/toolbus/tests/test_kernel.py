"""The kernel: the same over every kind of server, from everywhere that a module can come from."""

import asyncio
import json
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
from _alike import played, run, text
from _peer import LEVEL, OLD_PYTHON, PATIENCE, ROOT, written
from test_servers import FASTMCP, MCP_2, OTHER, WORKER

from toolbus._errors import RpcError
from toolbus._kernel import Kernel, LoadError, load
from toolbus._threads import MAX_LOST, Threads

@pytest.mark.parametrize("kind", ["worker", "fastmcp 4", "mcp 2"])
def test_every_kind_of_server(tmp_path: Path, kind: str) -> None:
    sources = {"worker": WORKER, "fastmcp 4": OTHER.format(**FASTMCP), "mcp 2": OTHER.format(**MCP_2)}
    run(played(str(written(tmp_path, sources[kind])), kind))


def test_the_older_package(tmp_path: Path) -> None:
    if not OLD_PYTHON.exists():
        pytest.skip(f"skipped: no {OLD_PYTHON}")
    source = OTHER.format(**MCP_2 | {"imports": "from mcp.server.fastmcp import Context, FastMCP", "server": "FastMCP"})
    file = written(tmp_path, source)
    program = f"import _alike; _alike.run(_alike.played({str(file)!r}, 'mcp 1')); print('played')"
    path = f"{ROOT / 'python/toolbus/src'}:{Path(__file__).parent}"
    done = subprocess.run([OLD_PYTHON, "-c", program], capture_output=True, text=True, timeout=PATIENCE * 2, env={"PYTHONPATH": path})
    assert done.stdout.endswith("played\n"), done.stderr


SKILL = '''
    from toolbus import skill_command

    @skill_command(name="commit", category="version control", destructive=True)
    def do_commit(message: str) -> dict[str, str]:
        """Commits."""
        return {"said": message}

    @skill_command
    async def odd() -> object:
        """Returns what JSON cannot write."""
        return Odd()

    class Odd:
        def __str__(self) -> str:
            return "odd"

    def helper(x: int) -> int:
        """Helps, and is no tool."""
        return x
'''

# A decorator of another package that keeps what it was told at the function.
FOREIGN_SKILL = '''
    import functools

    def skill_command(**config):
        def mark(fn):
            @functools.wraps(fn)
            def wrapper(*args, **kwargs):
                return fn(*args, **kwargs)
            wrapper._is_skill_command = True
            wrapper._skill_config = config
            return wrapper
        return mark

    @skill_command(name="find", description="Finds things.", annotations={"readOnlyHint": True})
    def find(what: str) -> str:
        return f"found {what}"
'''


def test_a_folder_of_skills(tmp_path: Path) -> None:
    for skill, source in (("git", SKILL), ("search", FOREIGN_SKILL)):
        folder = tmp_path / "assets/skills" / skill / "scripts"
        folder.mkdir(parents=True)
        (folder.parent / "SKILL.md").write_text(f"---\nname: {skill}\n---\n")
        written(folder, source, "commands.py")
    broken = tmp_path / "assets/skills/broken/scripts"
    broken.mkdir(parents=True)
    written(broken, "import nothing_of_this_name", "commands.py")

    async def play() -> None:
        kernel = await Kernel.open(str(tmp_path))
        tools = {tool["name"]: tool for tool in await kernel.tools()}
        assert list(tools) == ["git.commit", "git.odd", "search.find"]
        assert tools["git.commit"]["annotations"] == {"destructiveHint": True}
        assert tools["search.find"]["description"] == "Finds things."
        assert tools["search.find"]["annotations"] == {"readOnlyHint": True}
        assert (await kernel.call("git.commit", {"message": "m"}))["structuredContent"] == {"said": "m"}
        odd = json.loads(text(await kernel.call("git.odd")))
        assert odd == {"value": "odd", "_serialized": True}
        assert text(await kernel.call("search.find", {"what": "it"})) == "found it"
        assert len(kernel.problems) == 1 and "nothing_of_this_name" in kernel.problems[0] and "broken" in kernel.problems[0]

    run(play())


def test_a_folder_of_files(tmp_path: Path) -> None:
    written(tmp_path, 'def one(x: int) -> int:\n    "Gives."\n    return x\n', "first.py")
    written(tmp_path, OTHER.format(**MCP_2), "second.py")
    written(tmp_path, "VALUE = 1\n", "nothing.py")

    async def play() -> None:
        kernel = await Kernel.open(str(tmp_path))
        assert [tool["name"] for tool in await kernel.tools()] == ["one", "add", "count", "sure", "fail"]
        assert text(await kernel.call("one", {"x": 4})) == "4"
        assert (await kernel.call("add", {"a": 1, "b": 1}))["structuredContent"] == {"result": 2}
        assert sorted(kernel.capabilities())[:2] == ["logging", "prompts"]

    run(play())


def test_two_files_with_the_same_tool_are_refused(tmp_path: Path) -> None:
    for name in ("a.py", "b.py"):
        written(tmp_path, 'def one(x: int) -> int:\n    "Gives."\n    return x\n', name)
    with pytest.raises(LoadError, match=r"two files have a tool 'one': a\.py and b\.py"):
        load(str(tmp_path))


EXECUTOR = '''
    class Kernel:
        def execute_tool(self, name, arguments):
            if name == "fail":
                raise ValueError("as it should")
            if name == "whole":
                return {"content": [{"type": "text", "text": "whole"}], "isError": True}
            return {"ran": name, "with": arguments}
        LISTS

    kernel = Kernel()
'''
LISTS = """def list_tools(self):
            return [{"name": "one", "description": "One.", "input_schema": {"type": "object", "required": ["x"]}}, "fail", "whole"]
"""


@pytest.mark.parametrize("lists", ["", LISTS])
def test_an_object_that_runs_tools_by_their_names(tmp_path: Path, lists: str) -> None:
    file = written(tmp_path, EXECUTOR.replace("LISTS", lists))

    async def play() -> None:
        kernel = await Kernel.open(str(file))
        names = [tool["name"] for tool in await kernel.tools()]
        assert names == (["one", "fail", "whole"] if lists else [])
        assert json.loads(text(await kernel.call("one", {"x": 1}))) == {"ran": "one", "with": {"x": 1}}
        failed = await kernel.call("fail")
        assert failed["isError"] and "as it should" in text(failed)
        assert await kernel.call("whole") == {"content": [{"type": "text", "text": "whole"}], "isError": True}
        if lists:
            with pytest.raises(RpcError, match="unknown tool"):
                await kernel.call("other")

    run(play())


def test_a_module_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pack_of_tools").mkdir()
    (tmp_path / "pack_of_tools/__init__.py").write_text("")
    written(tmp_path / "pack_of_tools", 'def one(x: int) -> int:\n    "Gives."\n    return x\n', "inner.py")
    monkeypatch.syspath_prepend(str(tmp_path))

    async def play() -> None:
        for target in ("pack_of_tools.inner", "pack_of_tools.inner:one"):
            kernel = await Kernel.open(target)
            assert text(await kernel.call("one", {"x": 5})) == "5"

    run(play())
    with pytest.raises(LoadError, match=r"pack_of_tools\.outer is no file, and no module"):
        load("pack_of_tools.outer")


ENDS = '''
    import asyncio, sys
    {imports}

    mcp = {server}("ends")

    @mcp.tool()
    def leave() -> str:
        """Leaves."""
        sys.exit(3)

    @mcp.tool()
    async def leave_async() -> str:
        """Leaves."""
        raise SystemExit(4)

    @mcp.tool()
    async def interrupt() -> str:
        """Interrupts."""
        raise KeyboardInterrupt()

    @mcp.tool()
    async def wait_for_ever() -> str:
        """Waits."""
        await asyncio.sleep(3600)
        return "never"

    @mcp.tool()
    def fine() -> str:
        """Is fine."""
        return "fine"
'''
WORKERS = {"imports": "from toolbus import Worker", "server": "Worker"}


@pytest.mark.parametrize("kind", [WORKERS, FASTMCP, MCP_2], ids=["worker", "fastmcp 4", "mcp 2"])
def test_what_would_end_the_process_ends_the_call(tmp_path: Path, kind: dict[str, str]) -> None:
    file = written(tmp_path, ENDS.format(**kind))

    async def play() -> None:
        kernel = await Kernel.open(str(file))
        for tool, said in (("leave", "SystemExit: 3"), ("leave_async", "SystemExit: 4"), ("interrupt", "KeyboardInterrupt")):
            ended = await kernel.call(tool)
            assert ended["isError"] and said in text(ended), ended
        waits = asyncio.ensure_future(kernel.call("wait_for_ever"))
        await asyncio.sleep(0.1)
        waits.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waits
        assert text(await kernel.call("fine")) == "fine"

    run(play())


def test_functions_that_never_end_take_no_place(tmp_path: Path) -> None:
    source = '''
        import threading
        from toolbus import Worker

        worker = Worker(threads=2)
        never = threading.Event()

        @worker.tool()
        def hang() -> None:
            """Hangs."""
            never.wait()

        @worker.tool()
        def fine() -> str:
            """Is fine."""
            return "fine"
    '''

    async def play() -> None:
        kernel = await Kernel.open(str(written(tmp_path, source)))
        for _ in range(3):
            hung = [asyncio.ensure_future(kernel.call("hang")) for _ in range(2)]
            waits = asyncio.ensure_future(kernel.call("fine"))
            await asyncio.sleep(0.1)
            assert not waits.done()
            for one in hung:
                one.cancel()
            # The places of those that hang are free at once.
            assert text(await waits) == "fine"
        assert kernel.lost() == 6

    run(play())


def test_threads_that_come_back_are_no_more_than_before() -> None:
    threads, gate, ran = Threads(1), threading.Event(), threading.Semaphore(0)
    jobs = []
    for _ in range(3):
        begun = threading.Event()

        def hang(begun: threading.Event = begun) -> None:
            begun.set()
            gate.wait(PATIENCE)

        jobs.append(threads.run(hang))
        assert begun.wait(PATIENCE)
        threads.give_up(jobs[-1])
    assert threads.lost == 3
    gate.set()
    for _ in range(20):
        threads.run(ran.release)
    for _ in range(20):
        assert ran.acquire(timeout=PATIENCE)
    for _ in range(3000):
        if threads.lost == 0 and threads._threads == 1:
            break
        threading.Event().wait(0.01)
    assert (threads.lost, threads._threads) == (0, 1)
    assert MAX_LOST > 3


def test_direct_calls_from_other_threads(tmp_path: Path) -> None:
    source = '''
        from toolbus import Context, Worker

        worker = Worker()

        @worker.tool()
        def add(a: int, b: int) -> int:
            """Adds."""
            return a + b

        @worker.tool()
        def leave() -> str:
            """Leaves."""
            raise SystemExit(3)

        @worker.tool()
        def knows(ctx: Context) -> str:
            """Knows its call."""
            return "knows"

        @worker.tool()
        async def later() -> str:
            """Is a coroutine."""
            return "later"
    '''

    async def play() -> None:
        kernel = await Kernel.open(str(written(tmp_path, source)))
        assert kernel.direct("knows") is None and kernel.direct("later") is None and kernel.direct("none") is None
        for name, arguments in (("add", {"a": 1, "b": 2}), ("add", {"a": "x"}), ("leave", {})):
            direct = kernel.direct(name)
            assert direct is not None
            assert json.loads(direct(arguments)) == await kernel.call(name, arguments)
        beside = asyncio.run_coroutine_threadsafe(kernel.call("later"), asyncio.get_running_loop())
        assert text(await asyncio.wrap_future(beside)) == "later"

    run(play())


def test_log_lines_and_signs_of_life(tmp_path: Path) -> None:
    source = '''
        from toolbus import Context, Worker

        worker = Worker()

        @worker.tool()
        def tell(ctx: Context) -> str:
            """Tells."""
            ctx.heartbeat()
            ctx.debug("unheard")
            ctx.warning({"of": "it"})
            return "told"
    '''

    async def play() -> None:
        kernel = await Kernel.open(str(written(tmp_path, source)))
        events: list[dict[str, Any]] = []
        await kernel.call("tell", {}, events.append, meta={LEVEL: "info"})
        assert events == [{"heartbeat": True}, {"log": {"level": "warning", "data": {"of": "it"}}}]
        events.clear()
        await kernel.call("tell", {}, events.append)
        assert events == [{"heartbeat": True}]

    run(play())
