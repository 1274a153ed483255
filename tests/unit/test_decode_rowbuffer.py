"""Row buffer: it lies apart from vectors, and Pillow decodes as it would without us."""

from __future__ import annotations

import ctypes
import random
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from worker.decode import rowbuffer
from worker.decode.rowbuffer import apart_from_vectors, place_row_buffers

ROOT = Path(__file__).parent.parent.parent

C = ctypes.PyDLL(None)
C.malloc.argtypes, C.malloc.restype = [ctypes.c_size_t], ctypes.c_void_p
C.calloc.argtypes, C.calloc.restype = [ctypes.c_size_t, ctypes.c_size_t], ctypes.c_void_p
C.free.argtypes, C.free.restype = [ctypes.c_void_p], None

place_row_buffers()
pytestmark = pytest.mark.skipif(
    "jpeg" not in Image.DECODERS, reason="only for glibc on a processor with AVX2"
)


def places(size: int, tries: int = 300) -> list[int]:
    """Where `calloc` put `size` bytes, in a heap that changes as it does between pictures."""
    chance = random.Random(size)
    held, found = [], []

    def allocate() -> None:
        found.append(C.calloc(1, size))

    for _ in range(tries):
        held.append(C.malloc(chance.randrange(1_200, 200_000)))
        if len(held) > 20:
            C.free(held.pop(chance.randrange(len(held))))
        apart_from_vectors(size, allocate)
        C.free(found[-1])
    for place in held:
        C.free(place)
    return found


#: Run in a process of its own: the heap of this one is what all tests before it left.
SHARES = """
from tests.unit.test_decode_rowbuffer import places
from worker.decode.rowbuffer import VECTOR
for width in (300, 500, 503, 640, 1000, 4000):
    found = places(4 * width)
    print(sum(place % VECTOR == 0 for place in found) / len(found))
"""


def test_buffers_begin_at_no_vector() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SHARES], cwd=ROOT, capture_output=True, text=True, check=True
    )
    shares = [float(line) for line in done.stdout.split()]
    assert len(shares) == 6
    # By chance it would be one half; now and then a heap gives other bytes than it foretold.
    assert sum(shares) / len(shares) <= 0.1, shares


class Watched:
    """The allocator, and the places that it gave and did not get back."""

    def __init__(self) -> None:
        self.given: list[int] = []
        self.most = 0

    def malloc(self, size: int) -> int:
        self.given.append(C.malloc(size))
        self.most = max(self.most, len(self.given))
        return self.given[-1]

    def free(self, place: int) -> None:
        self.given.remove(place)
        C.free(place)


def test_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched()
    monkeypatch.setattr(rowbuffer, "_C", watched)
    places(2_000)
    assert watched.most > 1
    assert watched.given == []
    with pytest.raises(MemoryError):
        apart_from_vectors(2_000, fail)
    assert watched.given == []


def fail() -> None:
    raise MemoryError


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("width", [3, 300, 501, 2_000])
@pytest.mark.parametrize("progressive", [False, True])
def test_pixels_are_pillows_own(
    mode: str, width: int, progressive: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    channels = len(Image.new(mode, (1, 1)).getbands())
    shape = (50, width, channels) if channels > 1 else (50, width)
    noise = np.random.default_rng(width).integers(0, 256, shape, dtype=np.uint8)
    data = BytesIO()
    Image.fromarray(noise, mode=mode).save(data, "JPEG", progressive=progressive)
    ours = np.asarray(Image.open(data))
    monkeypatch.delitem(Image.DECODERS, "jpeg")
    theirs = np.asarray(Image.open(data))
    assert np.array_equal(ours, theirs)


def test_a_truncated_picture_is_refused_in_pillows_words(monkeypatch: pytest.MonkeyPatch) -> None:
    data = BytesIO()
    Image.effect_noise((600, 400), 50).convert("RGB").save(data, "JPEG")
    half = data.getvalue()[: len(data.getvalue()) // 2]
    with pytest.raises(OSError, match="truncated") as ours:
        Image.open(BytesIO(half)).load()
    monkeypatch.delitem(Image.DECODERS, "jpeg")
    with pytest.raises(OSError, match="truncated") as theirs:
        Image.open(BytesIO(half)).load()
    assert str(ours.value) == str(theirs.value)


@pytest.mark.parametrize("machine", ["aarch64", "arm64"])
def test_other_processors_are_left_alone(machine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(Image.DECODERS, "jpeg")
    monkeypatch.setattr("platform.machine", lambda: machine)
    place_row_buffers()
    assert "jpeg" not in Image.DECODERS
