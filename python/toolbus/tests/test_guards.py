"""What keeps a module from ending or garbling the process that it runs in."""

import subprocess
import sys

_CODE = """
import os, signal, sys
from toolbus import _guards
_guards.set_up()
for end in (lambda: os._exit(3), os.abort, lambda: os.kill(os.getpid(), 9), lambda: os.killpg(0, 9), lambda: signal.raise_signal(15)):
    try:
        end()
    except SystemExit as refused:
        print(refused)
print(repr(sys.stdin.read()), os.kill(os.getpid(), 0))
child = os.fork()
if child == 0:
    os._exit(5)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_ways_to_end_the_process_are_refused_and_children_are_free() -> None:
    ended = subprocess.run([sys.executable, "-c", _CODE], input="unread", capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout) == (0, ""), ended.stderr
    *refused, streams, child = ended.stderr.splitlines()
    names = ["os._exit", "os.abort", "os.kill", "os.killpg", "signal.raise_signal"]
    assert refused == [f"{name} would end the gateway that this runs in, and is refused" for name in names]
    assert (streams, child) == ("'' None", "5")
