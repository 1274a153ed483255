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

from core.applications import find_application
from core.errors import ModelError
from core.modelparts import InputSpec
from core.modelspec import read_model
from core.settings import read_settings
from worker.engines.arithmetic import preprocess_array, preprocess_graph
from worker.engines.base import Child
from worker.engines.keras import load_keras
from worker.engines.litert import convert, load_litert
from worker.engines.network import servable
from worker.engines.prepare import prepare

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


def applications() -> dict[str, dict[str, Any]]:
    """What the installed Keras says of every application, beside what our table says."""
    random = np.random.default_rng(1).integers(0, 256, (2, 9, 7, 3), np.uint8)
    found = {}
    for keras_name in (name for name in dir(keras.applications) if name[0].isupper()):
        application = getattr(keras.applications, keras_name)
        module = sys.modules[application.__module__]
        ours = find_application(keras_name)
        if ours is None:
            found[keras_name] = {"known": False}
            continue
        expected = module.preprocess_input(random.astype("float32"), data_format="channels_last")
        graph = np.asarray(preprocess_graph(keras.ops.convert_to_tensor(random), ours.input))
        array = preprocess_array(random, ours.input)
        found[keras_name] = {
            "known": True,
            "side": [ours.input.height, ours.input.width],
            "keras side": default_side(application, module),
            "difference": float(
                max(np.abs(graph - expected).max(), np.abs(array - expected).max())
            ),
        }
    return found


def default_side(application: Any, module: Any) -> int:
    """Return the size that Keras builds an application for, without building it."""

    class Told(Exception):
        pass

    def tell(*_: Any, default_size: int, **__: Any) -> None:
        raise Told(default_size)

    original = module.imagenet_utils.obtain_input_shape
    module.imagenet_utils.obtain_input_shape = tell
    try:
        application(weights=None)
    except Told as told:
        return int(told.args[0])
    finally:
        module.imagenet_utils.obtain_input_shape = original
    return 224  # MobileNetV3: says so in a warning only, and takes any size


def official_weights(root: Path) -> dict[str, Any]:
    """Let Keras fetch 'ImageNet' weights of ours: which file it asks for, and what differs."""
    pixels = np.random.default_rng(3).integers(0, 256, (1, 224, 224, 3), np.uint8)
    found: dict[str, Any] = {}
    for name in ("EfficientNetB0", "MobileNetV3Small"):
        application = getattr(keras.applications, name)
        ours = find_application(name)
        assert ours is not None
        weights = root / ours.name / f"{ours.name}.weights.h5"
        weights.parent.mkdir()
        made = application(weights=None)
        for layer in made.layers:
            if isinstance(layer, keras.layers.Normalization):
                shape = layer.adapt_mean.shape
                layer.adapt_mean.assign(np.array([0.485, 0.456, 0.406]).reshape(shape))
                layer.adapt_variance.assign(np.array([0.229, 0.224, 0.225]).reshape(shape) ** 2)
                layer.finalize_state()
        made.save_weights(weights)

        def fetch(file: str, *_: Any, weights: Path = weights, name: str = name, **__: Any) -> str:
            found[f"{name} file"] = file
            return str(weights)

        sys.modules[application.__module__].file_utils.get_file = fetch
        spec = read_model(name, root)
        found[f"{name} ours"] = ours.cached_as
        values = preprocess_array(pixels, spec.input)
        expected = np.asarray(application(weights="imagenet")(values, training=False))
        served = np.asarray(servable(spec)(pixels))
        found[f"{name} difference"] = float(np.abs(served - expected).max() / expected.max())
    return found


def scalings() -> dict[str, float]:
    """Largest difference of each kind of preprocessing from plain arithmetic."""
    random = np.random.default_rng(1).integers(0, 256, (2, 9, 7, 3), np.uint8)
    found = {}
    for mode, divisor in (("unit", 255.0), ("none", 1.0)):
        spec = InputSpec(height=9, width=7, preprocessing=mode)
        got = np.asarray(preprocess_graph(keras.ops.convert_to_tensor(random), spec))
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


@keras.saving.register_keras_serializable()
class Odd(keras.layers.Layer):
    """A layer that only this program has."""

    def call(self, pixels: Any) -> Any:
        """Three times the pixels."""
        return pixels * 3


def errors(root: Path) -> dict[str, str]:
    """What each kind of wrong model is answered with."""
    write(root, "side", 3, "softmax", small(3, "softmax", side=9))
    write(root, "count", 10, "softmax", small(7, "softmax"))
    unsafe = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Lambda(lambda x: x[:, 0, 0])])
    write(root, "unsafe", 3, "softmax", unsafe)
    layers = [keras.Input((8, 8, 3)), Odd(), keras.layers.Flatten(), keras.layers.Dense(3)]
    write(root, "custom", 3, "softmax", keras.Sequential(layers))
    keras.saving.get_custom_objects().clear()
    diverged = small(3, "softmax")
    diverged.layers[-1].bias.assign([np.nan, 0, 0])
    write(root, "diverged", 3, "softmax", diverged)
    write(root, "signatures", 3, "softmax", diverged)
    (root / "signatures" / "model.keras").unlink()
    save_with_two_signatures(root / "signatures" / "saved_model")
    pictures = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(3, 1)])
    write(root, "map", 3, "softmax", pictures)
    write(root, "nothing", 3, "softmax", small(3, "softmax"))
    document = root / "nothing" / "model.toml"
    document.write_text('application = "Nothing50"\n' + document.read_text("utf-8"), "utf-8")
    (root / "nothing" / "nothing.weights.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    found = {}
    settings = read_settings(home=root / "home", models_dir=root, engine="litert")
    (root / "home" / "converted").mkdir(parents=True, exist_ok=True)
    for name in ("side", "count", "unsafe", "custom", "diverged", "signatures", "map", "nothing"):
        try:
            prepare(name, settings)
        except ModelError as error:
            found[name] = str(error)
    return found


def save_with_two_signatures(folder: Path) -> None:
    """A SavedModel of TensorFlow's own, neither of whose signatures is the default."""
    import tensorflow as tf

    module = tf.Module()
    module.weight = tf.Variable(1.0)
    taken = [tf.TensorSpec((None, 8, 8, 3), tf.float32)]
    mean = tf.function(lambda x: {"y": tf.reduce_mean(x, (1, 2)) * module.weight}, taken)
    tf.saved_model.save(module, folder, signatures={"classify": mean, "features": mean})


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
        "scalings": scalings(),
        "applications": applications(),
        "outputs": outputs(folder),
        "errors": errors(folder),
        "legacy": legacy_weights(folder),
        "official": official_weights(folder),
    }
    print(json.dumps(answers))
