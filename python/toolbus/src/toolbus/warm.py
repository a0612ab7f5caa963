"""`python -P -m toolbus.warm MODULE...`: interpreters that have imported already, for a gateway that runs scripts.

The gateway starts this; standard input is a Unix socket of its own. `-P` keeps the files of the working folder from
taking the place of Python's own modules before anything is set up.
"""

import sys

from toolbus._warm import _server, _settings


def main(arguments: list[str]) -> int:
    """Serves until the gateway is gone; answers with the exit status."""
    settings = _settings.parse(arguments)
    try:
        wire = _server.take_socket()
    except OSError as error:
        print(f"toolbus: standard input is not a socket ({error}): this is started by a gateway", file=sys.stderr)
        return 2
    return _server.serve(wire, settings)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
