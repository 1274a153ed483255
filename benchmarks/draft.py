"""The decode stage on 12-megapixel photographs, with JPEG's `draft()` and without."""

from __future__ import annotations

import os
import time

from benchmarks.measure import conclude, in_turns, parser
from benchmarks.networks import models_dir
from benchmarks.pictures import CAMERA, pictures
from core.modelspec import read_model
from core.settings import read_settings
from worker import decode as stage

TARGET = 2.5
MODEL = "mobilenet_v2"


def main() -> None:
    """Decode the same files both ways, in one process."""
    options = parser(__doc__).parse_args()
    count, pairs = (2, 1) if options.quick else (16, 7)
    files = [path.read_bytes() for path in pictures(count, CAMERA)]
    spec = read_model(MODEL, models_dir(MODEL)).input
    limits = read_settings().image_limits
    stage.prepare(limits)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    drafted = stage._draft

    def rate() -> float:
        start = time.perf_counter()
        for data in files:
            assert isinstance(stage.decode(data, spec, limits), stage.Decoded)
        return count / (time.perf_counter() - start)

    def rate_without() -> float:
        stage._draft = lambda image, target, box, spec: box
        try:
            return rate()
        finally:
            stage._draft = drafted

    turns = in_turns(rate, rate_without, pairs)
    conclude(options, [turns.figure("12-megapixel JPEGs, with draft() against without", TARGET)])


if __name__ == "__main__":
    main()
