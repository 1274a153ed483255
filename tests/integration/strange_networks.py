"""Networks as users bring them, served by every engine, against plain Keras.

`python strange_networks.py FOLDER` writes models below FOLDER and prints the largest differences as
one line of JSON. A process of its own, because it imports TensorFlow.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

import keras
import numpy as np
import tensorflow as tf

from core.errors import ModelError
from core.modelspec import read_model
from core.settings import read_settings
from worker.engines.base import Child
from worker.engines.choose import load_prepared
from worker.engines.combine import flipped
from worker.engines.keras import load_keras
from worker.engines.litert import convert
from worker.engines.network import servable

if TYPE_CHECKING:
    from collections.abc import Callable

layers = keras.layers
RANDOM = np.random.default_rng(7)


@dataclass(frozen=True)
class Case:
    """A network, what its `model.toml` says beside the size, and what plain Keras makes of pixels."""

    network: Any
    plain: Callable[[np.ndarray], np.ndarray]
    fed: str = ""
    output: str = ""
    labels: int = 3
    size: tuple[int, int] = (8, 8)
    channels: int = 3
    #: What plain Keras gives as the embedding; where it is given, the engines are asked for it.
    embedding: Callable[[np.ndarray], np.ndarray] | None = None
    save: Callable[[Any, Path], None] = field(
        default=lambda network, folder: network.save(folder / "model.keras")
    )


def call(network: Any, values: np.ndarray) -> np.ndarray:
    return np.asarray(network(values.astype(np.float32), training=False)).astype(np.float32)


def head(values: Any, units: int = 3, activation: str | None = "softmax", **more: Any) -> Any:
    return layers.Dense(units, activation=activation, **more)(layers.Flatten()(values))


def network(shape: tuple[int | None, ...], build: Callable[[Any], Any], **more: Any) -> Any:
    pixels = keras.Input(shape, **more)
    return shaken(keras.Model(pixels, build(pixels)))


def shaken(model: Any) -> Any:
    """Give every weight a random value: zeros and ones hide mistakes, above all in statistics."""
    for weight in model.weights:
        if "seed" in weight.path:
            continue
        scale = 1 / max(1.0, np.sqrt(np.prod(weight.shape[:-1], dtype=float)))
        values = RANDOM.normal(0, scale, weight.shape)
        if "variance" in weight.path:
            values = 0.5 + np.abs(values)
        weight.assign(values.astype(weight.dtype))
    return model


def softmax(raw: np.ndarray) -> np.ndarray:
    return np.exp(raw) / np.exp(raw).sum(axis=1, keepdims=True)


def keras_cases() -> dict[str, Case]:
    conv = layers.Conv2D
    first = network(
        (3, 8, 8),
        lambda x: head(
            layers.MaxPooling2D(data_format="channels_first")(
                layers.BatchNormalization(axis=1)(conv(4, 3, data_format="channels_first")(x))
            )
        ),
    )
    gray = network((6, 10, 1), lambda x: head(conv(4, 3, activation="relu")(x), 1, "sigmoid"))
    bgr = network((8, 8, 3), lambda x: head(conv(4, 3)(x)))
    one = network((8, 8, 3), lambda x: head(conv(4, 3)(x)), batch_size=1)
    three = network((8, 8, 3), lambda x: head(conv(4, 3)(x)), batch_size=3)
    several = network(
        (8, 8, 3),
        lambda x: {
            "features": layers.GlobalAveragePooling2D()(conv(5, 3)(x)),
            "scores": head(x, name="scores"),
        },
    )
    listed = network((8, 8, 3), lambda x: [layers.GlobalAveragePooling2D()(x), head(x, 4, None)])
    logit = network((8, 8, 3), lambda x: head(x, 1, None))
    many = network((8, 8, 3), lambda x: head(x, 3, None))
    half = network(
        (8, 8, 3), lambda x: head(conv(4, 3, dtype="float16")(x), dtype="float16"), dtype="float16"
    )
    mixed = network(
        (8, 8, 3), lambda x: head(conv(4, 3, dtype="mixed_float16")(x), dtype="float32")
    )
    norm = network(
        (8, 8, 3),
        lambda x: head(layers.BatchNormalization()(conv(4, 3)(layers.BatchNormalization()(x)))),
    )
    inside = network(
        (8, 8, 3),
        lambda x: head(
            layers.Rescaling(2.0, -1.0)(
                layers.Normalization(mean=[0.4, 0.5, 0.6], variance=[0.04, 0.05, 0.06])(
                    layers.Rescaling(1 / 255)(x)
                )
            )
        ),
    )
    whole = network((8, 8, 3), lambda x: head(layers.Rescaling(1 / 255)(x)), dtype="uint8")
    free = network(
        (None, None, 3),
        lambda x: layers.Activation("softmax")(
            layers.GlobalAveragePooling2D(keepdims=True)(conv(3, 1)(conv(4, 3)(x)))
        ),
    )
    nested = network(
        (8, 8, 3),
        lambda x: layers.Dense(3, activation="softmax")(
            layers.Dropout(0.5)(
                keras.Sequential(
                    [
                        keras.Input((8, 8, 3)),
                        conv(4, 3),
                        layers.BatchNormalization(),
                        layers.GlobalMaxPooling2D(),
                    ]
                )(x)
            )
        ),
    )
    mapped = network((8, 8, 3), lambda x: head(conv(5, 3, name="map")(x)))
    chain = shaken(
        keras.Sequential(
            [
                keras.Input((8, 8, 3)),
                conv(4, 3),
                layers.GlobalMaxPooling2D(),
                layers.Dense(3, activation="softmax"),
            ]
        )
    )
    unit = lambda x: x.astype(np.float32) / 255  # noqa: E731
    mean, std = np.array([100, 110, 120], np.float32), np.array([50, 60, 70], np.float32)
    turn = lambda x: unit(x).transpose(0, 3, 1, 2)  # noqa: E731
    binary = lambda p: np.concatenate([1 - p, p], axis=1)  # noqa: E731
    logistic = lambda raw: 1 / (1 + np.exp(-raw))  # noqa: E731
    yes = "activation = 'sigmoid'"
    return {
        "channels first": Case(first, lambda x: call(first, turn(x)), "layout = 'channels_first'\npreprocessing = 'unit'"),
        "gray, not square": Case(gray, lambda x: binary(call(gray, unit(x))), "color = 'gray'\npreprocessing = 'unit'", yes, 2, (6, 10), 1),
        "bgr, mean, std": Case(bgr, lambda x: call(bgr, (x[..., ::-1] - mean) / std), "color = 'bgr'\nmean = [100, 110, 120]\nstd = [50, 60, 70]"),
        "batch of one": Case(one, lambda x: np.concatenate([call(one, unit(x[i:i + 1])) for i in range(len(x))]), "preprocessing = 'unit'"),
        "batch of three": Case(three, lambda x: np.concatenate([call(three, unit(x[i:i + 3])) for i in (0, 3)]), "preprocessing = 'unit'"),
        "named outputs": Case(several, lambda x: np.asarray(several(unit(x), training=False)["scores"]), "preprocessing = 'unit'", "name = 'scores'"),
        "numbered outputs": Case(listed, lambda x: softmax(np.asarray(listed(unit(x), training=False)[1])), "preprocessing = 'unit'", "name = 1\nactivation = 'logits'", 4),
        "one logit": Case(logit, lambda x: binary(logistic(call(logit, unit(x)))), "preprocessing = 'unit'", "activation = 'sigmoid_logits'", 2),
        "multi-label logits": Case(many, lambda x: logistic(call(many, unit(x))), "preprocessing = 'unit'", "activation = 'sigmoid_logits'"),
        "float16": Case(half, lambda x: call(half, unit(x)), "preprocessing = 'unit'"),
        "mixed float16": Case(mixed, lambda x: call(mixed, unit(x)), "preprocessing = 'unit'"),
        "batch norm": Case(norm, lambda x: call(norm, x.astype(np.float32) / 127.5 - 1), "preprocessing = 'tf'"),
        "scales three times": Case(inside, lambda x: call(inside, x)),
        "takes uint8": Case(whole, lambda x: np.asarray(whole(x)), ""),
        "free size, 1x1 answer": Case(free, lambda x: call(free, unit(x)).reshape(len(x), 3), "preprocessing = 'unit'", size=(9, 12)),
        "embedding": Case(nested, lambda x: call(nested, unit(x)), "preprocessing = 'unit'", embedding=lambda x: np.asarray(nested.layers[1](unit(x), training=False))),
        "embedding of a Sequential": Case(chain, lambda x: call(chain, unit(x)), "preprocessing = 'unit'", embedding=lambda x: np.asarray(chain.layers[1](chain.layers[0](unit(x))))),
        "embedding of a named layer": Case(mapped, lambda x: call(mapped, unit(x)), "preprocessing = 'unit'", "embedding = 'map'", embedding=lambda x: np.asarray(mapped.get_layer("map")(unit(x))).mean(axis=(1, 2))),
        "embedding beside outputs": Case(several, lambda x: np.asarray(several(unit(x), training=False)["scores"]), "preprocessing = 'unit'", "name = 'scores'\nembedding = 'features'", embedding=lambda x: np.asarray(several(unit(x), training=False)["features"])),
        "mirrored too": Case(bgr, lambda x: (call(bgr, unit(x)[..., ::-1]) + call(bgr, unit(x)[:, :, ::-1, ::-1])) / 2, "color = 'bgr'\npreprocessing = 'unit'\n[augment]\nflip = true"),
        "nested": Case(nested, lambda x: call(nested, unit(x)), "preprocessing = 'unit'"),
    }  # fmt: skip


def export(model: Any, folder: Path) -> None:
    model.export(folder / "saved_model", verbose=False)


def write_module(model: Any, folder: Path) -> None:
    """A SavedModel that Keras never saw: a function of TensorFlow's own."""
    module = tf.Module()
    module.scale = tf.Variable(RANDOM.normal(size=(3, 4)), dtype=tf.float32)

    @tf.function(input_signature=[tf.TensorSpec((None, 8, 8, 3), tf.float32, name="picture")])
    def serve(picture: Any) -> Any:
        pooled = tf.reduce_mean(picture, axis=(1, 2))
        return {"features": pooled, "scores": tf.nn.softmax(tf.matmul(pooled, module.scale))}

    module.scale.assign(model)
    tf.saved_model.save(module, folder / "saved_model", signatures={"classify": serve})


def write_tflite(model: Any, folder: Path, kind: Any = None) -> None:
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if kind is not None:
        samples = RANDOM.uniform(-1, 1, (50, 1, *model.inputs[0].shape[1:])).astype(np.float32)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([sample] for sample in samples)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = kind
    (folder / "model.tflite").write_bytes(converter.convert())


def file_cases() -> dict[str, Case]:
    conv = layers.Conv2D
    plain = network(
        (8, 8, 3), lambda x: head(layers.BatchNormalization()(conv(4, 3, activation="relu")(x)))
    )
    first = network((3, 8, 8), lambda x: head(x, 3, None))
    two = network(
        (8, 8, 3), lambda x: {"a": layers.GlobalAveragePooling2D()(x), "b": head(x, 1, "sigmoid")}
    )
    matrix = RANDOM.normal(size=(3, 4)).astype(np.float32)
    tf_mode = lambda x: x.astype(np.float32) / 127.5 - 1  # noqa: E731
    fed = "preprocessing = 'tf'"
    binary = lambda p: np.concatenate([1 - p, p], axis=1)  # noqa: E731
    found = {
        "SavedModel": Case(plain, lambda x: call(plain, tf_mode(x)), fed, save=export),
        "SavedModel, own signature": Case(matrix, lambda x: softmax(tf_mode(x).mean(axis=(1, 2)) @ matrix), fed, "name = 'scores'", 4, save=write_module),
        "tflite": Case(plain, lambda x: call(plain, tf_mode(x)), fed, save=write_tflite),
        "tflite, channels first": Case(first, lambda x: softmax(call(first, tf_mode(x).transpose(0, 3, 1, 2))), fed + "\nlayout = 'channels_first'", "activation = 'logits'", save=write_tflite),
        "tflite, embedding": Case(two, lambda x: binary(np.asarray(two(tf_mode(x))["b"])), fed, "name = 'b'\nactivation = 'sigmoid'\nembedding = 'a'", 2, embedding=lambda x: np.asarray(two(tf_mode(x))["a"]), save=write_tflite),
        "SavedModel, embedding": Case(matrix, lambda x: softmax(tf_mode(x).mean(axis=(1, 2)) @ matrix), fed, "name = 'scores'\nembedding = 'features'", 4, embedding=lambda x: tf_mode(x).mean(axis=(1, 2)), save=write_module),
        "tflite, two outputs": Case(two, lambda x: binary(np.asarray(two(tf_mode(x))["b"])), fed, "name = 'b'\nactivation = 'sigmoid'", 2, save=write_tflite),
    }  # fmt: skip
    for kind in (tf.int8, tf.uint8):
        save = lambda model, folder, kind=kind: write_tflite(model, folder, kind)  # noqa: E731
        found[f"tflite, {kind.name}"] = Case(
            plain, lambda x: call(plain, tf_mode(x)), fed, save=save
        )
    return found


def ask(root: Path, name: str, case: Case) -> dict[str, float | str]:
    """Serve one case with each engine that can; the largest difference, or the error."""
    folder = root / name.replace(" ", "-")
    folder.mkdir(parents=True)
    (folder / "model.toml").write_text(
        f"[input]\nheight = {case.size[0]}\nwidth = {case.size[1]}\n{case.fed}\n[output]\n{case.output}\n"
    )
    (folder / "labels.txt").write_text("".join(f"label{i}\n" for i in range(case.labels)))
    case.save(case.network, folder)
    pixels = RANDOM.integers(0, 256, (5, *case.size, case.channels), np.uint8)
    if name == "batch of three":
        pixels = pixels[[0, 1, 2, 3, 4, 4]]
    expected = case.plain(pixels)
    if case.embedding:
        expected = np.concatenate([expected, case.embedding(pixels)], axis=1)
    found: dict[str, float | str] = {"spread": float(np.ptp(expected, axis=0).max())}
    for engine, serve in (("litert", by_litert), ("openvino", by_openvino), ("keras", by_keras)):
        try:
            spec = read_model(folder.name, root)
            if engine != "litert" and spec.source == "tflite":
                continue
            served = serve(spec, root, case.embedding is not None)
            assert served.embedding_size == expected.shape[1] - case.labels
            found[engine] = float(np.abs(served.predict(pixels) - expected).max())
        except ModelError as error:
            found[engine] = f"{error} / {error.__cause__}"
    return found


def by_litert(spec: Any, root: Path, embeddings: bool) -> Any:
    if spec.source == "tflite":
        return load_prepared(spec, spec.weights, read_settings(home=root), embeddings=embeddings)
    flatbuffer = root / f"{spec.name}.tflite"
    flatbuffer.write_bytes(convert(servable(spec, embeddings=embeddings), spec))
    return load_prepared(spec, flatbuffer, read_settings(home=root), embeddings=embeddings)


def by_openvino(spec: Any, root: Path, embeddings: bool) -> Any:
    flatbuffer = root / f"{spec.name}.tflite"
    settings = read_settings(home=root, engine="openvino")
    return load_prepared(spec, flatbuffer, settings, embeddings=embeddings)


def by_keras(spec: Any, root: Path, embeddings: bool) -> Any:
    settings = read_settings(home=root / "home", models_dir=root, engine="keras", batch_size=4)
    return flipped(load_keras(spec, settings, Child(), embeddings=embeddings), spec)


if __name__ == "__main__":
    cases = {**keras_cases(), **file_cases()}
    wanted = sys.argv[2:] or list(cases)
    print(json.dumps({name: ask(Path(sys.argv[1]), name, cases[name]) for name in wanted}))
