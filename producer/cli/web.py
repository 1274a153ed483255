"""`web`: the page to drop pictures on and to watch jobs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from core.errors import ClassyardError, UsageError
from core.settings import read_settings
from producer.cli.local import end_in_good_order
from producer.cli.options import err

if TYPE_CHECKING:
    from core.settings import Settings

#: Longest password file that is read, in bytes.
PASSWORD_BYTES = 1024


def web(
    address: Annotated[
        str | None,
        typer.Option("--address", help="Address to listen on; beyond this machine: a password."),
    ] = None,
    port: Annotated[
        int | None, typer.Option("--port", "-p", help="Port; default 5550 or the next free one.")
    ] = None,
    password_file: Annotated[
        Path | None,
        typer.Option("--password-file", help="File with the password of user 'classyard'."),
    ] = None,
) -> None:
    """Serve the web page: drop pictures, see their labels, watch jobs, browse results.

    It listens on this machine only, unless --address names another and a password is set. Drops need
    a running yard ('classyard up' starts one, this page included); results can be read without.

    Examples:
      classyard web

      classyard web --address 0.0.0.0 --password-file ~/.classyard-password
    """
    from producer.web.listening import is_installed, place_of

    if not is_installed():
        raise ClassyardError("the web page is not installed: pip install 'classyard[web]'")
    from producer.web.serve import run_web

    settings = read_settings(
        web_address=address,
        web_port=port,
        web_password=password_file and read_password(password_file),
    )

    end_in_good_order()

    def announce(found: Settings) -> None:
        behind = " (user classyard, with the password)" if found.web_password else ""
        err().print(f"{place_of(found, '')}{behind}  Ctrl-C stops", soft_wrap=True)

    run_web(settings, announce)


def read_password(file: Path) -> str:
    """Return the password in a file.

    Raises:
        UsageError: if it cannot be read, or holds none.
    """
    try:
        with file.expanduser().open("rb") as opened:
            password = opened.read(PASSWORD_BYTES).decode().strip()
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{file}: not UTF-8") from error
    if not password:
        raise UsageError(f"{file} holds no password")
    return password
