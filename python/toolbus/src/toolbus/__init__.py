"""Python functions as MCP tools, on any number of machines.

>>> from toolbus import Worker
>>> worker = Worker("math")
>>> @worker.tool()
... def add(a: int, b: int) -> int:
...     "Adds two numbers."
...     return a + b

With `worker.run()` at its end the file runs by itself (`python math.py`); without it, `toolbus worker math.py` runs it.
"""

from toolbus import _shadow

# Before anything else is imported.
_shadow.keep_own_of_main()

from toolbus._content import Audio, Content, Image, Resource, ResourceLink, Result, Text
from toolbus._context import Context
from toolbus._errors import Cancelled, ElicitationNotSupported, ToolError
from toolbus._forms import Elicited
from toolbus._run import serve
from toolbus._skills import skill_command
from toolbus._worker import Worker

__version__ = "0.1.0"

__all__ = [
    "Audio",
    "Cancelled",
    "Content",
    "Context",
    "Elicited",
    "ElicitationNotSupported",
    "Image",
    "Resource",
    "ResourceLink",
    "Result",
    "Text",
    "ToolError",
    "Worker",
    "serve",
    "skill_command",
]
