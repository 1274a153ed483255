"""Builds networks and asks them: runs in a process of its own, because it imports TensorFlow.

`python keras_probe.py FOLDER` writes models below FOLDER and prints what it found as one line of JSON.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

import keras
import numpy as np

from core.errors import ModelError
from core.modelspec import InputSpec, read_model
from core.settings import read_settings
from worker.engines.base import Child
from worker.engines.keras import load_keras
from worker.engines.litert import convert, load_litert
from worker.engines.network import preprocess, servable

TOML = """
[input]
height = 8
width = 8
preprocessing = "unit"
[output]
activation = "{}"
"""


def write(root: Path, name: str, labels: int, activation: str, network: Any) -> None:
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "model.toml").write_text(TOML.format(activation), "utf-8")
    (folder / "labels.txt").write_text("".join(f"label{i}\n" for i in range(labels)), "utf-8")
    network.save(folder / "model.keras")


def small(units: int, activation: str | None, side: int = 8) -> Any:
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((side, side, 3)),
            layers.Conv2D(4, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(units, activation=activation),
        ]
    )


def preprocessing_differences() -> dict[str, float]:
    """Largest difference from what Keras itself makes of NumPy arrays."""
    random = np.random.default_rng(1).integers(0, 256, (2, 9, 7, 3), np.uint8)
    found = {}
    for mode in ("tf", "caffe", "torch"):
        spec = InputSpec(height=9, width=7, preprocessing=mode)
        pixels = keras.Input((9, 7, 3), dtype="uint8")
        graph = keras.Model(pixels, preprocess(pixels, spec))
        expected = keras.applications.imagenet_utils.preprocess_input(
            random.astype("float32"), data_format="channels_last", mode=mode
        )
        found[mode] = float(np.abs(graph.predict_on_batch(random) - expected).max())
    for mode, divisor in (("unit", 255.0), ("none", 1.0)):
        spec = InputSpec(height=9, width=7, preprocessing=mode)
        got = np.asarray(preprocess(keras.ops.convert_to_tensor(random), spec))
        found[mode] = float(np.abs(got - random / np.float32(divisor)).max())
    return found


def outputs(root: Path) -> dict[str, float]:
    """Largest difference between what each engine says and plain arithmetic on the raw network."""
    pixels = np.random.default_rng(2).integers(0, 256, (11, 8, 8, 3), np.uint8)
    settings = read_settings(home=root / "home", models_dir=root, engine="keras", batch_size=4)
    found = {}
    for name, units, activation in (
        ("softmax", 3, "softmax"),
        ("logits", 3, None),
        ("sigmoid", 3, "sigmoid"),
        ("binary", 1, "sigmoid"),
    ):
        network = small(units, activation)
        declared = {"binary": "sigmoid"}.get(name, name)
        write(root, name, 2 if name == "binary" else units, declared, network)
        spec = read_model(name, root)
        raw = np.asarray(network(pixels.astype("float32") / 255.0))
        expected = {
            "logits": lambda raw=raw: np.exp(raw) / np.exp(raw).sum(axis=1, keepdims=True),
            "binary": lambda raw=raw: np.concatenate([1 - raw, raw], axis=1),
        }.get(name, lambda raw=raw: raw)()
        keras_engine = load_keras(spec, settings, Child())
        found[f"keras {name}"] = float(np.abs(keras_engine.predict(pixels) - expected).max())
        flatbuffer = root / f"{name}.tflite"
        flatbuffer.write_bytes(convert(servable(spec), spec))
        litert = load_litert(spec, flatbuffer)
        found[f"litert {name}"] = float(np.abs(litert.predict(pixels) - expected).max())
    return found


def errors(root: Path) -> dict[str, str]:
    """What each kind of wrong model is answered with."""
    write(root, "side", 3, "softmax", small(3, "softmax", side=9))
    write(root, "count", 10, "softmax", small(7, "softmax"))
    unsafe = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Lambda(lambda x: x[:, 0, 0])])
    write(root, "unsafe", 3, "softmax", unsafe)
    pictures = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(3, 1)])
    write(root, "map", 3, "softmax", pictures)
    write(root, "nothing", 3, "softmax", small(3, "softmax"))
    document = root / "nothing" / "model.toml"
    document.write_text('application = "Nothing50"\n' + document.read_text("utf-8"), "utf-8")
    (root / "nothing" / "nothing.weights.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    found = {}
    for name in ("side", "count", "unsafe", "map", "nothing"):
        try:
            servable(read_model(name, root))
        except ModelError as error:
            found[name] = str(error)
    return found


def legacy_weights(root: Path) -> float:
    """Largest difference after weights went through a legacy `.h5`, as Keras's cache holds them."""
    import h5py
    from keras.src.legacy.saving import legacy_h5_format

    network = keras.applications.MobileNetV2(weights=None)
    cached = Path(os.environ["KERAS_HOME"]) / "models"
    cached.mkdir(parents=True)
    name = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224.h5"
    with h5py.File(cached / name, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, network)
    spec = read_model("mobilenet_v2", root)
    assert spec.weights == cached / name
    pixels = np.random.default_rng(3).integers(0, 256, (1, 224, 224, 3), np.uint8)
    expected = np.asarray(network(pixels.astype("float32") / 127.5 - 1, training=False))
    return float(np.abs(np.asarray(servable(spec)(pixels)) - expected).max())


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    os.environ["KERAS_HOME"] = str(folder / "keras")
    answers = {
        "preprocessing": preprocessing_differences(),
        "outputs": outputs(folder),
        "errors": errors(folder),
        "legacy": legacy_weights(folder),
    }
    print(json.dumps(answers))
