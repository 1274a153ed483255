"""The same decode and engine under Ray Data `map_batches`: the contender of `against_ray`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any


class Classify:
    """An actor with the model in memory; one per core."""

    def __init__(self, home: str, models: str, model: str) -> None:
        from core.modelspec import read_model
        from core.settings import read_settings
        from worker.decode import prepare
        from worker.engines.choose import load_engine

        self.settings = read_settings(home=Path(home), models_dir=Path(models), engine="litert")
        self.spec = read_model(model, self.settings.models_path)
        self.engine = load_engine(self.spec, self.settings)
        prepare(self.settings.image_limits)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Classify a batch of paths."""
        import numpy as np

        from worker.decode import Decoded, decode
        from worker.topk import top_k

        best = []
        for path in batch["item"]:
            decoded = decode(Path(path).read_bytes(), self.spec.input, self.settings.image_limits)
            assert isinstance(decoded, Decoded), decoded
            best.append(top_k(self.engine.predict(decoded.pixels[None]), 5)[0][0])
        return {"path": batch["item"], "classes": np.stack(best)}


def main() -> None:
    """Classify the pictures of a list and write the answers to Parquet files."""
    home, models, model, listed, answers = sys.argv[1:]
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # noqa: TID251 - no calls home
    import ray  # type: ignore[import-not-found]

    cores = len(os.sched_getaffinity(0))
    ray.init(num_cpus=cores, include_dashboard=False, log_to_driver=False)
    paths = Path(listed).read_text().split()
    ray.data.from_items(paths).map_batches(
        Classify, fn_constructor_args=(home, models, model), batch_size=32, concurrency=cores,
        num_cpus=1,
    ).write_parquet(answers)  # fmt: skip


if __name__ == "__main__":
    main()
