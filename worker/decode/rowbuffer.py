"""Row buffer: where Pillow's JPEG decoder keeps the row that libjpeg has just written.

If it begins at a multiple of 32 bytes, libjpeg-turbo writes past the caches (the `vmovntdq` of its
`jdcolext-avx2.asm`), and Pillow, which reads the row at once, waits for memory: decoding that picture
takes about a tenth longer (docs/benchmarks.md). glibc begins memory at an odd or an even multiple of 16, as it happens; this
makes the odd one happen.
"""

from __future__ import annotations

import ctypes
import os
import platform
from typing import TYPE_CHECKING, Any, Final

from PIL import Image, _imaging

if TYPE_CHECKING:
    from collections.abc import Callable

#: Multiples of this many bytes are to be avoided.
VECTOR: Final = 32
#: glibc rounds sizes up to this, and adds the size of its header.
_STEP: Final = 16
_HEADER: Final = 8
#: Bytes up to which glibc keeps what was freed in lists of their own, which do not foretell what
#: `calloc` will give; so narrow a picture is decoded soon anyway.
_SMALL: Final = 1032
#: Places that are taken away before the row buffer gets one as it comes.
_MOST_TAKEN: Final = 24
#: Bytes of a pixel in the buffer: Pillow has libjpeg write RGB with a fourth byte.
_PIXEL: Final = 4


def place_row_buffers() -> None:
    """Have Pillow decode JPEG by way of `JpegDecoder`, where that is of any use."""
    if _is_glibc() and platform.machine() in {"x86_64", "AMD64"}:
        Image.register_decoder("jpeg", JpegDecoder)  # type: ignore[arg-type]


class JpegDecoder:
    """Pillow's own decoder in every respect but the place of its buffer."""

    pulls_fd = False

    def __init__(self, mode: str, *args: Any) -> None:
        core = _imaging.jpeg_decoder(mode, *args)
        self._setimage = core.setimage
        self._pixel = _PIXEL if mode == "RGB" else 0
        self.decode = core.decode
        self.cleanup = core.cleanup

    def setimage(self, image: Any, extents: tuple[int, int, int, int] | None) -> None:
        """Allocate the buffer, for rows as wide as `extents` (left, top, right, bottom) or all."""
        width = extents[2] - extents[0] if extents else image.size[0]
        size = self._pixel * width
        apart_from_vectors(size, lambda: self._setimage(image, extents))


def apart_from_vectors(size: int, allocate: Callable[[], object]) -> None:
    """Call `allocate`, which allocates `size` bytes, at a moment when they begin at no vector.

    Only ever a matter of speed: should the bytes lie elsewhere than foretold, nothing else is different.
    """
    taken: list[int | None] = []
    # Where the next bytes lie is found out by allocating them. If there is no good place, it is taken
    # by so many bytes that the place after it is good.
    odd = size if _chunk(size) % VECTOR else size + _STEP
    try:
        while size > _SMALL and len(taken) < _MOST_TAKEN:
            place = _next_place(size)
            if place % VECTOR:
                break
            taken.append(_C.malloc(odd))
            if taken[-1] != place:  # a gap of just `size` bytes
                taken.append(_C.malloc(size))
        allocate()
    finally:
        for one in taken:
            _C.free(one)


def _next_place(size: int) -> int:
    """Return the address that the next `size` bytes will get."""
    # glibc puts in order what was freed when it is asked next: only then it answers the same twice.
    for _ in range(2):
        place = _C.malloc(size)
        _C.free(place)
    return place or 1  # None if there is no memory: whoever needs it will say so


def _chunk(size: int) -> int:
    """Return how many bytes glibc uses up for `size`: its `request2size`."""
    return (size + _HEADER + _STEP - 1) // _STEP * _STEP


def _is_glibc() -> bool:
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
    except (OSError, ValueError):  # macOS has no such name, musl no answer
        return False


def _allocator() -> ctypes.PyDLL:
    """Return this process's allocator; called with Python's lock held, for it is about microseconds."""
    allocator = ctypes.PyDLL(None)
    allocator.malloc.argtypes, allocator.malloc.restype = [ctypes.c_size_t], ctypes.c_void_p
    allocator.free.argtypes, allocator.free.restype = [ctypes.c_void_p], None
    return allocator


_C: Final = _allocator()
