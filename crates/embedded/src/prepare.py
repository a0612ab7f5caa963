"""Makes the interpreter ready for a server: where modules are found, before any of ours is."""

import os
import site
import sys


def prepare(path, venv, prefix):
    """Returns `toolbus._embedded`. Everything is for all servers: there is one interpreter."""
    _own_library(prefix)
    if venv is not None:
        _enter(str(venv))
    for folder in map(str, reversed(path)):
        if folder in sys.path:
            sys.path.remove(folder)
        sys.path.insert(0, folder)
    # An embedded interpreter looks in the working folder first, which is nobody's choice.
    sys.path[:] = [entry for entry in sys.path if entry]
    from toolbus import _embedded

    return _embedded


def _own_library(prefix):
    # Python looks for its library beside the first `python3` of PATH, which may be another Python of the same version.
    found = sys.base_prefix
    if not prefix or os.path.realpath(found) == os.path.realpath(prefix) or not os.path.isdir(prefix):
        return
    for place, entry in enumerate(sys.path):
        if entry == found or entry.startswith(found + os.sep):
            sys.path[place] = prefix + entry[len(found) :]
    if sys.prefix == found:
        sys.prefix = sys.exec_prefix = prefix
    sys.base_prefix = sys.base_exec_prefix = prefix
    python = os.path.join(prefix, "bin", "python%d.%d" % sys.version_info[:2])
    if os.access(python, os.X_OK):
        sys.executable = python


def _enter(venv):
    version = "python%d.%d" % sys.version_info[:2]
    packages = os.path.join(venv, "lib", version, "site-packages")
    if not os.path.isdir(packages):
        raise ImportError(
            "%s is no virtual environment of %s, which is inside this build: make one with that version" % (venv, version)
        )
    if packages not in sys.path:
        common = [entry for entry in _common_packages() if entry in sys.path]
        sys.path[:] = [entry for entry in sys.path if entry not in common]
        site.addsitedir(packages)
        sys.path.extend(common if _shares(venv) else [])
    python = os.path.join(venv, "bin", "python")
    if os.access(python, os.X_OK):
        # What starts another Python, such as multiprocessing, finds the same packages there.
        sys.prefix = sys.exec_prefix = venv
        sys.executable = python


def _common_packages():
    """Where the Python outside of the environment has its packages, which would go before those of the environment."""
    return [*site.getsitepackages(), site.getusersitepackages()]


def _shares(venv):
    try:
        with open(os.path.join(venv, "pyvenv.cfg"), encoding="utf-8") as settings:
            pairs = [line.partition("=")[::2] for line in settings]
    except OSError:
        return False
    return any(name.strip() == "include-system-site-packages" and value.strip() == "true" for name, value in pairs)
