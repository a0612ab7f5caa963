"""The types: of the package itself, and as those who use it meet them."""

import subprocess
import sys
from pathlib import Path

from _peer import ROOT, written

PACKAGE = ROOT / "python/toolbus"

USE = '''
    from toolbus import Context, Worker

    worker = Worker("types")

    @worker.tool()
    def add(a: int, b: int) -> int:
        return a + b

    @worker.tool
    async def ask(ctx: Context) -> str:
        answer = await ctx.elicit("Sure?", bool)
        await ctx.report_progress(1)
        reveal_type(answer)
        return "yes" if answer.data else "no"

    reveal_type(add)
    add("x", 1)
    worker.tool(3)
    worker.tool(title=3)
'''


def mypy(*arguments: object) -> tuple[int, str]:
    """What mypy says in its strict mode."""
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--no-incremental", *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=PACKAGE)
    return ended.returncode, ended.stdout + ended.stderr


def test_the_package_is_typed() -> None:
    assert mypy("src", "bench.py") == (0, "")


def test_the_tests_are_typed() -> None:
    assert mypy("tests") == (0, "")


def test_uses_are_checked(tmp_path: Path) -> None:
    status, said = mypy(written(tmp_path, USE))
    assert status == 1
    for found in (
        'note: Revealed type is "toolbus._forms.Elicited[bool]"',
        'note: Revealed type is "def (a: int, b: int) -> int"',
        'Argument 1 to "add" has incompatible type "str"; expected "int"',
        'No overload variant of "tool" of "Worker" matches argument type "int"',
    ):
        assert found in said.replace("builtins.", ""), said
    assert said.count("error:") == 3, said
