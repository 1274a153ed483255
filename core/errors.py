"""The two kinds of failure: what ends one image (`Code`, stored in SQL) and what ends a command.

An image's failure is a value, never an exception that reaches its neighbours: see `types.Failure`.
"""

from __future__ import annotations

from difflib import get_close_matches
from enum import StrEnum


class Code(StrEnum):
    """Why one image got no labels. The values are stable: SQL, exports and reports use them."""

    # The URI itself
    URI_INVALID = "uri_invalid"
    URI_SCHEME = "uri_scheme"
    URI_FORBIDDEN = "uri_forbidden"
    # Where it leads
    ADDR_FORBIDDEN = "addr_forbidden"
    REDIRECT_FORBIDDEN = "redirect_forbidden"
    TOO_MANY_REDIRECTS = "too_many_redirects"
    DNS_NOT_FOUND = "dns_not_found"
    DNS_TIMEOUT = "dns_timeout"
    CONN_FAILED = "conn_failed"
    TLS_FAILED = "tls_failed"
    TIMEOUT_CONNECT = "timeout_connect"
    TIMEOUT_READ = "timeout_read"
    TIMEOUT_TOTAL = "timeout_total"
    TOO_SLOW = "too_slow"
    HTTP_4XX = "http_4xx"
    HTTP_429 = "http_429"
    HTTP_5XX = "http_5xx"
    PATH_FORBIDDEN = "path_forbidden"
    NOT_A_FILE = "not_a_file"
    FILE_NOT_FOUND = "file_not_found"
    PERMISSION = "permission"
    READ_FAILED = "read_failed"
    ARCHIVE_INVALID = "archive_invalid"
    STORE_UNAVAILABLE = "store_unavailable"
    ROBOTS_FORBIDDEN = "robots_forbidden"
    # The bytes
    EMPTY = "empty"
    TOO_LARGE = "too_large"
    TRUNCATED = "truncated"
    NOT_AN_IMAGE = "not_an_image"
    FORMAT_NOT_ALLOWED = "format_not_allowed"
    DECODE_FAILED = "decode_failed"
    DECODE_TIMEOUT = "decode_timeout"
    PIXELS_EXCEEDED = "pixels_exceeded"
    DIMENSIONS = "dimensions"
    # The model
    MODEL_OUTPUT = "model_output"
    MODEL_UNAVAILABLE = "model_unavailable"
    # The worker
    WORKER_CRASH = "worker_crash"
    INTERNAL = "internal"

    @property
    def transient(self) -> bool:
        """Whether the same image may well succeed when tried again later."""
        return self in _TRANSIENT


_TRANSIENT = frozenset(
    {
        Code.DNS_TIMEOUT,
        Code.CONN_FAILED,
        Code.TIMEOUT_CONNECT,
        Code.TIMEOUT_READ,
        Code.TIMEOUT_TOTAL,
        Code.TOO_SLOW,
        Code.HTTP_429,
        Code.HTTP_5XX,
        Code.TRUNCATED,
        Code.READ_FAILED,
        Code.DECODE_TIMEOUT,
        Code.MODEL_UNAVAILABLE,
        Code.WORKER_CRASH,
        Code.INTERNAL,
    }
)


class ClassyardError(Exception):
    """Something that ends a command; the text is one line that says what to do."""

    exit_code = 1


class UsageError(ClassyardError):
    """The command was asked for something that cannot be: a bad argument, an empty source."""

    exit_code = 2


class StoppedError(ClassyardError):
    """Ctrl-C or SIGTERM ended the command; the text says what is left."""

    exit_code = 130


class SettingsError(ClassyardError):
    """A `CLASSYARD_` setting is missing, malformed or contradicts another."""


class ManifestError(ClassyardError):
    """A manifest cannot be read; names the file and the line."""


class ModelError(ClassyardError):
    """A model is unknown, incomplete, corrupt or answers wrongly."""


class BrokerError(ClassyardError):
    """Redis cannot be started or reached, or refused the message."""


class DatabaseError(ClassyardError):
    """The database cannot be reached, or its schema is not ours."""


class NoSuchJobError(ClassyardError):
    """No job has this id."""


class JobStatusError(ClassyardError):
    """The job's status does not allow what was asked of it."""


class WaitTimeoutError(ClassyardError):
    """A job had not ended when the time to wait for it was over; it goes on."""


def code_named(word: str) -> Code:
    """Return the error code of this name.

    Raises:
        UsageError: if there is none.
    """
    try:
        return Code(word)
    except ValueError:
        close = get_close_matches(word, Code, 1)
        meant = f"did you mean '{close[0]}'? " if close else ""
        known = ", ".join(sorted(Code))
        raise UsageError(f"no error code '{word}'; {meant}there are {known}") from None
