"""The `classyard` command: thin functions over the producer's parts; errors become one line.

The parts are loaded inside the functions: Ctrl-C is answered from the first moment on, and what is
no work for the database does not wait for its libraries.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NoReturn

from core.errors import ClassyardError, DatabaseError, StoppedError, UsageError

if TYPE_CHECKING:
    from typer import TyperException


def main() -> NoReturn:
    """Run a command.

    Exit codes: 0 all ok, 1 error, 2 usage, 3 finished with failed images, 130 interrupted.
    """
    try:
        _open_standard_streams()
        code = _run()
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of our output has gone (`| head`): nothing to say.
        _drop_output()
        sys.exit(1)
    except KeyboardInterrupt:
        _end(StoppedError("interrupted"))
    except ClassyardError as error:
        _end(error)
    except MemoryError:
        _end(ClassyardError("not enough memory"))
    except OSError as error:
        _drop_output()
        reason = error.strerror or str(error)
        place = f"{error.filename}: " if error.filename else ""
        _end(ClassyardError(f"{place}{reason}"))
    if code == StoppedError.exit_code:
        _end(StoppedError("interrupted"))
    sys.exit(code)


def _run() -> int:
    from typer import Abort, TyperException

    from producer.cli.commands import cli

    try:
        return cli(standalone_mode=False) or 0
    except TyperException as error:
        if not error.format_message():  # no command was named, and the help is printed
            return error.exit_code
        raise UsageError(_usage(error)) from error
    except Abort as error:
        raise StoppedError("stopped: nothing was done") from error
    except OverflowError as error:
        raise UsageError("a number is larger than any database takes") from error
    except Exception as error:
        from sqlalchemy.exc import DBAPIError

        if not isinstance(error, DBAPIError):
            raise
        raise DatabaseError(f"the database failed: {str(error.orig).splitlines()[0]}") from error


def _open_standard_streams() -> None:
    """Put nothing where a standard stream was closed (`<&-`): else the next file that is opened gets there."""
    for handle, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            os.dup2(nothing := os.open(os.devnull, os.O_RDWR), handle)
            if nothing != handle:
                os.close(nothing)
            setattr(sys, name, open(handle, mode, closefd=False))  # noqa: SIM115 - it stays


def _drop_output() -> None:
    """Let nothing be flushed at the exit: what stdout led to is full or gone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _usage(error: TyperException) -> str:
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "classyard"
    text = error.format_message().rstrip(".").replace("Value error, ", "")
    return f"{text[:1].lower()}{text[1:]} ('{command} -h' helps)"


def _end(error: ClassyardError) -> NoReturn:
    sys.stderr.write(f"classyard: {error}\n")
    sys.exit(error.exit_code)
