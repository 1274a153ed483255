"""What the libraries of object stores raise, told apart without loading any of them."""

from __future__ import annotations

from typing import Final

from core.errors import Code

#: What the libraries raise, by the names of their classes: they need not be installed to be told apart.
_BY_NAME: Final = {
    "FileNotFoundError": (Code.FILE_NOT_FOUND, "no such object"),
    "ResourceNotFoundError": (Code.FILE_NOT_FOUND, "no such object"),
    "IsADirectoryError": (Code.NOT_A_FILE, "it is a prefix, not an object"),
    "PermissionError": (Code.PERMISSION, "the store refuses these credentials"),
    # Azure's, without a status: nobody was asked, for nothing in the environment gave credentials.
    "ClientAuthenticationError": (Code.STORE_UNAVAILABLE, "no credentials for this store"),
    "NoCredentialsError": (Code.STORE_UNAVAILABLE, "no credentials for this store"),
    "PartialCredentialsError": (Code.STORE_UNAVAILABLE, "no whole credentials for this store"),
    "CredentialRetrievalError": (Code.STORE_UNAVAILABLE, "credentials could not be had"),
    "DefaultCredentialsError": (Code.STORE_UNAVAILABLE, "no credentials for this store"),
    "RefreshError": (Code.STORE_UNAVAILABLE, "credentials could not be renewed"),
    "ConnectTimeoutError": (Code.TIMEOUT_CONNECT, "no connection to the store"),
    "ConnectionTimeoutError": (Code.TIMEOUT_CONNECT, "no connection to the store"),
    "ReadTimeoutError": (Code.TIMEOUT_READ, "no bytes from the store"),
    "SocketTimeoutError": (Code.TIMEOUT_READ, "no bytes from the store"),
    "TimeoutError": (Code.TIMEOUT_TOTAL, "not finished in time"),
    "IncompleteReadError": (Code.TRUNCATED, "the store's answer was cut off"),
    "ResponseStreamingError": (Code.TRUNCATED, "the store's answer was cut off"),
    "ClientPayloadError": (Code.TRUNCATED, "the store's answer was cut off"),
    "EndpointConnectionError": (Code.CONN_FAILED, "no connection to the store"),
    "HTTPClientError": (Code.CONN_FAILED, "the connection to the store broke"),
    "ClientConnectionError": (Code.CONN_FAILED, "the connection to the store broke"),
    "ServiceRequestTimeoutError": (Code.TIMEOUT_CONNECT, "no connection to the store"),
    "ServiceResponseTimeoutError": (Code.TIMEOUT_READ, "no bytes from the store"),
    "ServiceResponseError": (Code.CONN_FAILED, "the connection to the store broke"),
    "ServiceRequestError": (Code.CONN_FAILED, "no connection to the store"),
    "ConnectionError": (Code.CONN_FAILED, "the connection to the store broke"),
}  # fmt: skip


class StoreError(Exception):
    """A store could not be used; the code says why an image has no bytes, the text is one line."""

    def __init__(self, code: Code, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class StatusError(Exception):
    """A store answered with a status that is no success."""

    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP {status}")
        self.status_code = status


def explained(error: BaseException) -> StoreError:
    """Return what an error of a store's library means; its text, which may hold anything, is left out."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, StoreError):
            return seen
        if status := _status(seen):
            return _by_status(status)
        for kind in type(seen).__mro__:
            if kind.__name__ in _BY_NAME:
                return StoreError(*_BY_NAME[kind.__name__])
        seen = seen.__cause__
    return StoreError(Code.READ_FAILED, f"the store gave an error: {type(error).__name__}")


def _status(error: BaseException) -> int:
    """Return the HTTP status in an error of botocore, azure or gcsfs; 0 if there is none."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    else:
        status = getattr(error, "status_code", None) or getattr(error, "code", 0)
    return int(status) if str(status).isdigit() else 0


def _by_status(status: int) -> StoreError:
    if status in {404, 410}:
        return StoreError(*_BY_NAME["FileNotFoundError"])
    if status in {401, 403}:
        return StoreError(*_BY_NAME["PermissionError"])
    if status == 416:
        return StoreError(Code.EMPTY, "the object has no bytes")
    if status == 429:
        return StoreError(Code.HTTP_429, "HTTP 429")
    code = Code.HTTP_5XX if status >= 500 else Code.HTTP_4XX
    return StoreError(code, f"HTTP {status}")
