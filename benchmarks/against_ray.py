"""`classyard run` against a Ray Data job with the same decode and engine, start-up counted for both."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.lab import desk_only
from benchmarks.measure import conclude, in_turns, parser, say
from benchmarks.networks import models_dir
from benchmarks.pictures import pictures
from core.modelspec import read_model
from core.prepare import prepare_model

TARGET = 1.2
MODEL = "mobilenet_v2"


def main() -> None:
    """Compare whole commands, from an idle machine to all answers stored."""
    options = parser(__doc__).parse_args()
    if importlib.util.find_spec("ray") is None:
        say("Ray is not installed: make bench installs it (locks/bench.txt)")
        sys.exit(2)
    count, pairs = (32, 1) if options.quick else (1000, 3)
    paths = pictures(count)
    models = models_dir(MODEL)
    with (
        tempfile.TemporaryDirectory() as name,
        desk_only(engine="litert", models_dir=models) as desk,
    ):
        prepare_model(read_model(MODEL, models), desk.settings)
        folder = Path(name)
        listed = folder / "list.txt"
        listed.write_text("\n".join(map(str, paths)) + "\n")
        home = desk.settings.home
        ours = [
            *(sys.executable, "-m", "producer", "run", str(listed), "--model", MODEL),
            *("--root", str(paths[0].parent)),
        ]
        ray = [
            *(sys.executable, "-m", "benchmarks.ray_job", str(home), str(models), MODEL),
            *(str(listed), str(folder / "answers")),
        ]

        def rate_of(command: list[str]) -> float:
            shutil.rmtree(folder / "answers", ignore_errors=True)
            start = time.perf_counter()
            subprocess.run(
                command, check=True, capture_output=True, timeout=200,
                env=desk.settings.as_environment(),
            )  # fmt: skip
            return count / (time.perf_counter() - start)

        turns = in_turns(lambda: rate_of(ours), lambda: rate_of(ray), pairs)
    conclude(
        options, [turns.figure(f"against Ray Data, start-up included, {count:,} JPEGs", TARGET)]
    )


if __name__ == "__main__":
    main()
