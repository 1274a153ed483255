"""The `classyard` command: thin functions over the producer's parts; errors become one line."""

from __future__ import annotations

import os
import sys

from sqlalchemy.exc import DBAPIError

from core.errors import ClassyardError
from producer.cli.commands import cli


def main() -> None:
    """Run a command. Exit codes: 0 all ok, 1 error, 2 usage, 3 finished with failed images."""
    _open_standard_streams()
    try:
        cli()
    except ClassyardError as error:
        _end(str(error), error.exit_code)
    except DBAPIError as error:
        _end(f"the database failed: {str(error.orig).splitlines()[0]}", 1)
    except BrokenPipeError:
        # The reader of our output has gone (`| head`): nothing to say, and nothing to flush.
        sys.stderr.close()
        sys.exit(0)


def _open_standard_streams() -> None:
    """Put nothing where a standard stream was closed (`<&-`): else the next file that is opened gets there."""
    for handle, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            os.dup2(nothing := os.open(os.devnull, os.O_RDWR), handle)
            if nothing != handle:
                os.close(nothing)
            setattr(sys, name, open(handle, mode, closefd=False))  # noqa: SIM115 - it stays


def _end(text: str, code: int) -> None:
    sys.stderr.write(f"classyard: {text}\n")
    sys.exit(code)
