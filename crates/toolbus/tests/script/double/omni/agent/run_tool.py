"""`python -m omni.agent.run_tool SKILL COMMAND`, with the arguments as a JSON object on stdin."""

import json
import sys

from omni._commands import run

if __name__ == "__main__":
    sys.exit(run(sys.argv[1], sys.argv[2], json.load(sys.stdin)))
