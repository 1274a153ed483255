"""`python -m worker`: the worker with the right flags, and no module of the current folder in its way."""

from __future__ import annotations

import gc
import sys

from core.errors import ClassyardError, StoppedError

#: Gossip and mingle make workers talk to each other; ours only talk to SQL.
FLAGS = ("--loglevel=INFO", "--without-gossip", "--without-mingle")


def main() -> None:
    """Run the worker until it is told to stop."""
    try:
        from worker.app import app
    except ClassyardError as error:
        sys.exit(f"classyard worker: {error}")
    except KeyboardInterrupt:  # before Celery listens for it
        sys.exit(StoppedError.exit_code)
    from celery.bin.celery import celery

    # Quiet: no banner, which is 20 lines and no JSON.
    # What `app.worker_main` does, but for the exit status, which it forgets: a supervisor needs it.
    celery.params[0].default = app
    try:
        # Quiet: no banner, which is no line of the log and which a full disk would let us die of.
        celery.main(args=["--quiet", "worker", *FLAGS, *sys.argv[1:]], prog_name="celery")
    finally:
        # On its way out Python would walk through every object of Celery once more: seconds on a busy
        # machine, while whoever stops us waits with SIGKILL in hand.
        gc.freeze()


if __name__ == "__main__":
    main()
