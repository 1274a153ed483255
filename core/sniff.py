"""What bytes are that no allowed reader recognised: another format, a web page, or noise."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from core.errors import Code
from core.types import Failure

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Pillow's name of a format and how its files begin. The first match counts.
_SIGNATURES: Final = tuple(
    (name, re.compile(start, re.DOTALL))
    for name, start in (
        ("JPEG", rb"\xff\xd8\xff"),
        ("PNG", rb"\x89PNG\r\n\x1a\n"),
        ("GIF", rb"GIF8[79]a"),
        ("WEBP", rb"RIFF....WEBP"),
        ("BMP", rb"BM.{4}\x00{4}"),
        ("TIFF", rb"II[*+]\x00|MM\x00[*+]"),
        ("PSD", rb"8BPS"),
        ("PDF", rb"%PDF-"),
        ("EPS", rb"%!PS|\xc5\xd0\xd3\xc6"),
        ("AVIF", rb".{4}ftyp(avif|avis)"),
        ("HEIC", rb".{4}ftyp(hei[cmsx]|hev[cmx]|mif1|msf1)"),
        ("JPEG2000", rb"\x00\x00\x00\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51"),
        ("JXL", rb"\xff\x0a|\x00\x00\x00\x0cJXL \r\n\x87\n"),
        ("ICNS", rb"icns"),
        ("ICO", rb"\x00\x00\x01\x00[^\x00]"),
        ("CUR", rb"\x00\x00\x02\x00[^\x00]"),
        ("FITS", rb"SIMPLE  ="),
        ("PPM", rb"P[1-7]\s"),
        ("DDS", rb"DDS "),
        ("QOI", rb"qoif"),
        ("SGI", rb"\x01\xda[\x00\x01][\x01\x02]"),
        ("PCX", rb"\x0a[\x00\x02\x03\x04\x05]\x01[\x01\x02\x04\x08]"),
        ("WMF", rb"\xd7\xcd\xc6\x9a\x00\x00|\x01\x00\x00\x00.{36} EMF"),
        ("MP4", rb".{4}ftyp"),
    )
)
_PILLOWS_NAME: Final = {"HEIC": "HEIF"}
_SVG: Final = re.compile(rb"\s*<(svg|\?xml|!--|!doctype svg)", re.IGNORECASE)
_HTML: Final = re.compile(
    rb"\s*<(!doctype html|html|head|body|script|meta|title|div|!--)", re.IGNORECASE
)
_WINDOW: Final = 1024


def refuse(data: bytes, allowed: Sequence[str]) -> Failure:
    """Say why no allowed reader took `data`; it is never empty."""
    start = data[:_WINDOW].removeprefix(b"\xef\xbb\xbf")
    name = _recognise(start)
    if name is None:
        return Failure(Code.NOT_AN_IMAGE, _describe(start))
    if _PILLOWS_NAME.get(name, name) not in allowed:
        return Failure(Code.FORMAT_NOT_ALLOWED, f"{name}; allowed: {', '.join(allowed)}")
    if name == "PNG" and bytes(4) in {data[16:20], data[20:24]} and len(data) >= 24:
        return Failure(Code.DIMENSIONS, "a side of 0 pixels")
    return Failure(Code.DECODE_FAILED, f"{name}: broken header, or of a kind that is not read")


def format_name(data: bytes) -> str | None:
    """Return the name of the format that `data` begins like, if it is one we know."""
    return _recognise(data[:_WINDOW].removeprefix(b"\xef\xbb\xbf"))


def _recognise(start: bytes) -> str | None:
    if _SVG.match(start) and b"<svg" in start:
        return "SVG"
    return next((name for name, form in _SIGNATURES if form.match(start)), None)


def _describe(start: bytes) -> str:
    if _HTML.match(start):
        return "an HTML page"
    text = start.lstrip()
    if text.startswith(b"<?xml"):
        return "XML"
    if text[:1] in {b"{", b"["}:
        return "JSON"
    if not start.strip(b"\0"):
        return "zero bytes only"
    if all(byte >= 0x20 or byte in b"\t\n\r" for byte in start) and _is_utf8(start):
        return "text"
    return f"unknown bytes: {start[:8].hex(' ')}"


def _is_utf8(start: bytes) -> bool:
    try:
        start.decode()
    except UnicodeDecodeError as error:
        # The window may end inside a character.
        return error.start >= len(start) - 3
    return True
