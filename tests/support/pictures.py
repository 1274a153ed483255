"""Picture files as strangers send them: bombs, lies, damage, and odd but honest ones."""

from __future__ import annotations

import io
import struct
import zlib

from PIL import Image


def chunk(name: bytes, data: bytes) -> bytes:
    """One PNG chunk."""
    crc = struct.pack(">I", zlib.crc32(name + data))
    return struct.pack(">I", len(data)) + name + data + crc


def png(width: int, height: int, *chunks: bytes, color: int = 0) -> bytes:
    """A PNG, grey if nothing else is said, whose header says so much, around the given chunks."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, color, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + chunk(b"IEND", b"")


def grey(width: int, height: int) -> bytes:
    """A real grey PNG of any size, made without holding its pixels."""
    return png(width, height, chunk(b"IDAT", _black(1 + width, height)))


def hungry(width: int, height: int) -> bytes:
    """The PNG that takes most memory to decode: RGB with one colour declared transparent."""
    body = chunk(b"tRNS", bytes(6)) + chunk(b"IDAT", _black(1 + 3 * width, height))
    return png(width, height, body, color=2)


def _black(row: int, rows: int) -> bytes:
    packer = zlib.compressobj(1)
    return b"".join(packer.compress(bytes(row)) for _ in range(rows)) + packer.flush()


def stored(kind: str, mode: str = "RGB", size: tuple[int, int] = (40, 30), **how: object) -> bytes:
    """A small picture in one of Pillow's formats."""
    file = io.BytesIO()
    Image.new(mode, size).save(file, kind, **how)
    return file.getvalue()


def animated(kind: str, frames: int) -> bytes:
    """A picture that moves."""
    pages = [Image.new("RGB", (12, 12), (step % 256, 0, 0)) for step in range(frames)]
    file = io.BytesIO()
    pages[0].save(file, kind, save_all=True, append_images=pages[1:])
    return file.getvalue()


def text_bomb(name: bytes) -> bytes:
    """A PNG with 200 MB of zeros in a compressed text."""
    head = {b"zTXt": b"a\0\0", b"iTXt": b"a\0\1\0\0\0", b"iCCP": b"a\0\0"}[name]
    packed = zlib.compress(bytes(200 << 20), 1)
    return png(1, 1, chunk(name, head + packed), chunk(b"IDAT", zlib.compress(b"\0\1")))


def scans(side: int, count: int) -> bytes:
    """A small progressive JPEG that says the same of its many pixels again and again."""
    data = stored("JPEG", "L", (side, side), progressive=True)
    last, end = data.rindex(b"\xff\xda"), len(data) - 2
    return data[:end] + data[last:end] * count + data[end:]


#: First bytes of formats that are not decoded by default (some only recognized, never readable).
FOREIGN = {
    "tif": lambda: stored("TIFF"),
    "jp2": lambda: stored("JPEG2000"),
    "icns": lambda: b"icns" + struct.pack(">I", 1000) + bytes(992),
    "psd": lambda: b"8BPS\0\1" + bytes(60),
    "eps": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
    "svg": lambda: b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>',
    "fits": lambda: b"SIMPLE  =                    T" + bytes(2850),
}

#: Honest pictures that are less usual.
ODD = {
    "cmyk.jpg": lambda: stored("JPEG", "CMYK"),
    "grey.jpg": lambda: stored("JPEG", "L"),
    "turned.jpg": lambda: stored("JPEG", exif=_turned()),
    "16bit.png": lambda: stored("PNG", "I;16"),
    "palette.png": lambda: stored("PNG", "P"),
    "alpha.png": lambda: stored("PNG", "RGBA"),
    "bits.png": lambda: stored("PNG", "1"),
    "plain.bmp": lambda: stored("BMP"),
    "moving.gif": lambda: animated("GIF", 300),
    "moving.webp": lambda: animated("WEBP", 30),
    "moving.png": lambda: animated("PNG", 30),
    "largest.png": lambda: hungry(7071, 7071),
    "longest.png": lambda: grey(20_000, 1),
}


def _turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif
