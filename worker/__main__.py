"""`python -m worker`: the worker with the right flags, and no module of the current folder in its way."""

from __future__ import annotations

import sys

from core.errors import ClassyardError

#: Gossip and mingle make workers talk to each other; ours only talk to SQL.
FLAGS = ("--loglevel=INFO", "--without-gossip", "--without-mingle")


def main() -> None:
    """Run the worker until it is told to stop."""
    try:
        from worker.app import app
    except ClassyardError as error:
        sys.exit(f"classyard worker: {error}")
    app.worker_main(["worker", *FLAGS, *sys.argv[1:]])


if __name__ == "__main__":
    main()
