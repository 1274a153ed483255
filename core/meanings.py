"""What each error code means, in one sentence for people who look at pages instead of documents."""

from __future__ import annotations

from typing import Final

from core.errors import Code

MEANINGS: Final = {
    Code.URI_INVALID: "The URI is malformed.",
    Code.URI_SCHEME: "URIs of this kind are not fetched.",
    Code.URI_FORBIDDEN: "The URI carries a name or password, or its port is not open.",
    Code.ADDR_FORBIDDEN: "The host's address is not public.",
    Code.REDIRECT_FORBIDDEN: "The server points to a place that may not be fetched.",
    Code.TOO_MANY_REDIRECTS: "The server redirects too often.",
    Code.DNS_NOT_FOUND: "The host's name does not exist.",
    Code.DNS_TIMEOUT: "The name server gave no answer.",
    Code.CONN_FAILED: "The server could not be reached.",
    Code.TLS_FAILED: "The server's certificate is refused.",
    Code.TIMEOUT_CONNECT: "The server did not answer in time.",
    Code.TIMEOUT_READ: "The server fell silent.",
    Code.TIMEOUT_TOTAL: "Fetching took too long.",
    Code.TOO_SLOW: "The server sent too slowly.",
    Code.HTTP_4XX: "The server refused the request.",
    Code.HTTP_429: "The server was asked too often.",
    Code.HTTP_5XX: "The server failed.",
    Code.PATH_FORBIDDEN: "The file is not below a folder that workers may read.",
    Code.NOT_A_FILE: "This is a folder or a device, not a file.",
    Code.FILE_NOT_FOUND: "There is no such file where the worker runs.",
    Code.PERMISSION: "The worker may not read the file.",
    Code.READ_FAILED: "The disk gave an error.",
    Code.EMPTY: "The file is empty.",
    Code.TOO_LARGE: "The picture has too many bytes.",
    Code.TRUNCATED: "The picture arrived only in part.",
    Code.NOT_AN_IMAGE: "This is not a picture.",
    Code.FORMAT_NOT_ALLOWED: "Pictures of this format are not read.",
    Code.DECODE_FAILED: "The picture is damaged.",
    Code.DECODE_TIMEOUT: "Decoding the picture took too long.",
    Code.PIXELS_EXCEEDED: "The picture has too many pixels.",
    Code.DIMENSIONS: "The picture is too long, or has no extent at all.",
    Code.MODEL_OUTPUT: "The model answered with something that is no number.",
    Code.MODEL_UNAVAILABLE: "No worker could load the model.",
    Code.WORKER_CRASH: "The picture ended or hung the worker that read it.",
    Code.ROBOTS_FORBIDDEN: "The server's robots.txt forbids it.",
    Code.ARCHIVE_INVALID: "The archive is damaged, or its member is not there.",
    Code.STORE_UNAVAILABLE: "The object store cannot be read from the worker.",
    Code.INTERNAL: "An error of Classyard's own.",
}
