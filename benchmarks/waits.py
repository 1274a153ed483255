"""What a wait costs beyond its length: a bare loop that rests against one that never does.

A child waits some 10 ms between two chunks. Where the loop that rests as long takes much longer than that,
the machine itself is what keeps a yard from the bare loop: a virtual one loses its place on the processor.
"""

from __future__ import annotations

from benchmarks.bare import REST_EVERY, REST_SECONDS, bare_loop
from benchmarks.lab import desk_only
from benchmarks.measure import conclude, in_turns, parser
from benchmarks.networks import models_dir
from benchmarks.pictures import pictures

#: The rests by themselves: 1 % where a picture takes 10 ms.
TARGET = 0.985
MODEL = "mobilenet_v2"


def main() -> None:
    """Classify the same files in both, in turns."""
    made = parser(__doc__)
    made.add_argument("--pairs", type=int, default=12)
    options = made.parse_args()
    count, pairs = (100, 2) if options.quick else (1000, options.pairs)
    paths = pictures(count)
    with (
        desk_only(engine="litert", models_dir=models_dir(MODEL)) as desk,
        bare_loop(paths, MODEL, desk.settings, rests=True) as resting,
        bare_loop(paths, MODEL, desk.settings) as restless,
    ):
        turns = in_turns(resting.rate, restless.rate, pairs)
    rests = f"{1000 * REST_SECONDS:.0f} ms for every {REST_EVERY} pictures"
    what = f"bare loop that rests {rests} against one that does not"
    conclude(options, [turns.figure(what, TARGET)])


if __name__ == "__main__":
    main()
