"""`python -m omni.skills.run SKILL COMMAND --args JSON`."""

import json
import sys

from omni._commands import run

if __name__ == "__main__":
    skill, command, flag, arguments = sys.argv[1:]
    assert flag == "--args" and not sys.stdin.read()
    sys.exit(run(skill, command, json.loads(arguments)))
