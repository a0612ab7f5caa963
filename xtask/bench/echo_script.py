"""The same function as a program: arguments on stdin, the result on stdout."""

import asyncio
import json
import sys

from sdk_echo import echo

print(json.dumps(asyncio.run(echo(**json.load(sys.stdin)))))
