"""A file called `math.py` must not take the place of Python's own `math`, which others import behind its back.

Python looks for modules in the folder of the file that it runs before it looks among its own. What is imported here is
loaded before any file is run.
"""

import importlib
import os
import sys


def keep_own(file: str) -> None:
    """Sees to it that Python's own module of this name is imported, if there is one, and not the file."""
    folder, base = os.path.split(os.path.realpath(file))
    name = os.path.splitext(base)[0]
    if name not in sys.stdlib_module_names:
        return
    if name in sys.modules:
        taken = getattr(sys.modules[name], "__file__", None)
        if taken and os.path.realpath(taken) == os.path.realpath(file):
            raise ImportError(
                f"{base} was imported in the place of Python's own {name!r}: import toolbus before anything else, or give "
                "the file another name"
            )
        return
    path = sys.path[:]
    sys.path[:] = [entry for entry in path if os.path.realpath(entry or ".") != folder]
    try:
        importlib.import_module(name)
    except ImportError:
        # Python was built without it: then nobody imports it.
        pass
    finally:
        sys.path[:] = path


def keep_own_of_main() -> None:
    """The same for the file that Python runs."""
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    if file:
        keep_own(file)
