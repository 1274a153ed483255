"""One Celery task per image with Keras `predict`: what people write first. The baseline, no part of us."""

from __future__ import annotations

import os
import sqlite3

from celery import Celery, signals

URL, MODELS, MODEL, TABLE = (
    os.environ.get(f"NAIVE_{name}", "")  # noqa: TID251
    for name in ("URL", "MODELS", "MODEL", "TABLE")
)
app = Celery("naive", broker=URL)
app.conf.update(task_default_queue="naive", task_ignore_result=True)
network = database = None


@signals.worker_process_init.connect  # type: ignore[untyped-decorator]
def load(**_: object) -> None:
    """Load the network and open the database, once per child."""
    global network, database  # noqa: PLW0603
    import keras

    network = keras.applications.MobileNetV2(weights=None)
    network.load_weights(f"{MODELS}/{MODEL}/{MODEL}.weights.h5")
    database = sqlite3.connect(TABLE, timeout=30)


@app.task  # type: ignore[untyped-decorator]
def classify(path: str) -> None:
    """Write a row with the five best classes of one image."""
    import keras
    import numpy as np

    assert network is not None
    assert database is not None
    pixels = keras.utils.img_to_array(keras.utils.load_img(path, target_size=(224, 224)))
    values = keras.applications.mobilenet_v2.preprocess_input(np.expand_dims(pixels, 0))
    best = network.predict(values, verbose=0)[0].argsort()[-5:]
    with database:
        database.execute("INSERT INTO results VALUES (?, ?)", (path, str(best.tolist())))
