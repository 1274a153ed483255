"""One Celery task per image with Keras `predict`: what people write first. The baseline, no part of us."""

from __future__ import annotations

import os

from celery import Celery, signals

URL, MODELS, MODEL = (os.environ.get(f"NAIVE_{name}", "") for name in ("URL", "MODELS", "MODEL"))  # noqa: TID251
app = Celery("naive", broker=URL, backend=URL)
app.conf.task_default_queue = "naive"
network = None


@signals.worker_process_init.connect  # type: ignore[untyped-decorator]
def load(**_: object) -> None:
    """Load the network, once per child."""
    global network  # noqa: PLW0603
    import keras

    network = keras.applications.MobileNetV2(weights=None)
    network.load_weights(f"{MODELS}/{MODEL}/{MODEL}.weights.h5")


@app.task  # type: ignore[untyped-decorator]
def classify(path: str) -> list[int]:
    """Return the five best classes of one image."""
    import keras
    import numpy as np

    assert network is not None
    pixels = keras.utils.img_to_array(keras.utils.load_img(path, target_size=(224, 224)))
    values = keras.applications.mobilenet_v2.preprocess_input(np.expand_dims(pixels, 0))
    return [int(index) for index in network.predict(values, verbose=0)[0].argsort()[-5:]]
