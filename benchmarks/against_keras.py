"""The yard against Keras itself on the same files: `tf.data` with `model.predict`, or one by one."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.contender import Done, contender
from benchmarks.lab import lab, manifest
from benchmarks.measure import conclude, in_turns, parser
from benchmarks.networks import models_dir
from benchmarks.pictures import pictures
from core.modelspec import read_model

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: How many times Keras's rate ours has to be; images for us and for Keras in one turn.
ROWS = {
    ("tfdata", "mobilenet_v2"): (3.0, 1000, 1000),
    ("tfdata", "resnet50"): (2.0, 300, 300),
    ("single", "mobilenet_v2"): (12.0, 1000, 100),
}
SIDE = (224, 224)


def tfdata(model: str, models: Path, paths: Sequence[Path]) -> Callable[[], Done]:
    """Prepare what TensorFlow's guides recommend: a parallel `map`, `batch(32)`, `prefetch`.

    Done with the last batch: `predict` often returns seconds later. It waits for the thread that tunes the
    pipeline, whose naps double from 10 ms on, so that most calls take 5.11, 10.23 or 20.47 s.
    """
    keras, network, mode = _keras(model, models)
    import tensorflow as tf

    def read(path: Any) -> Any:
        pixels = tf.io.decode_jpeg(tf.io.read_file(path), channels=3)
        return keras.applications.imagenet_utils.preprocess_input(
            tf.image.resize(pixels, SIDE), mode=mode
        )

    files = tf.data.Dataset.from_tensor_slices([str(path) for path in paths])
    parallel = tf.data.AUTOTUNE
    batches = files.map(read, num_parallel_calls=parallel).batch(32).prefetch(parallel)

    last = 0.0

    def batch_done(*_: object, **__: object) -> None:
        nonlocal last
        last = time.perf_counter()

    told = keras.callbacks.LambdaCallback(on_predict_batch_end=batch_done)

    def work() -> Done:
        best = network.predict(batches, verbose=0, callbacks=[told]).argsort(1)[:, -5:]
        return Done(len(best), last)

    return work


def single(model: str, models: Path, paths: Sequence[Path]) -> Callable[[], Done]:
    """Prepare the loop of Keras's own examples: load, preprocess and predict one image at a time."""
    keras, network, mode = _keras(model, models)
    import numpy as np

    def work() -> Done:
        for path in paths:
            image = keras.utils.load_img(path, target_size=SIDE)
            pixels = np.expand_dims(keras.utils.img_to_array(image), 0)
            values = keras.applications.imagenet_utils.preprocess_input(pixels, mode=mode)
            network.predict(values, verbose=0)[0].argsort()[-5:]
        return Done(len(paths), time.perf_counter())

    return work


def _keras(model: str, models: Path) -> tuple[Any, Any, str]:
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"  # noqa: TID251 - before TensorFlow is imported
    import keras

    spec = read_model(model, models)
    network = getattr(keras.applications, str(spec.application))(weights=None)
    network.load_weights(spec.weights)
    return keras, network, spec.input.preprocessing


def main() -> None:
    """Compare one model in one way."""
    made = parser(__doc__)
    made.add_argument("--how", choices=("tfdata", "single"), default="tfdata")
    made.add_argument("--engine", choices=("auto", "litert", "openvino"), default="auto")
    made.add_argument("--model", choices=("mobilenet_v2", "resnet50"), default="mobilenet_v2")
    options = made.parse_args()
    target, ours, theirs = ROWS.get((options.how, options.model), (1.0, 100, 100))
    ours, theirs, pairs = (32, 32, 1) if options.quick else (ours, theirs, 5)
    prepare = tfdata if options.how == "tfdata" else single
    models = models_dir(options.model)
    paths = pictures(max(ours, theirs))
    with (
        tempfile.TemporaryDirectory() as folder,
        lab(engine=options.engine, models_dir=models, preload=(options.model,)) as yard,
        contender(prepare, options.model, models, paths[:theirs]) as keras_rate,
    ):
        listed = manifest(Path(folder), [str(path) for path in paths[:ours]])
        turns = in_turns(lambda: yard.rate(listed, options.model), keras_rate, pairs)
    words = {"tfdata": "tf.data + predict(batch 32)", "single": "predict image by image"}
    ours_by = "" if options.engine == "auto" else f" ({options.engine})"
    what = f"against {words[options.how]}, {options.model}{ours_by}"
    conclude(options, [turns.figure(what, target)])


if __name__ == "__main__":
    main()
