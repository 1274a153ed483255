"""Train a classifier on a folder of pictures, one sub-folder per class; leave a model folder.

python examples/transfer_learning/train.py PICTURES -o MODEL_FOLDER
classyard models add MODEL_FOLDER
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from PIL import Image

from core.modelparts import InputSpec
from core.modelspec import read_model
from core.settings import read_settings
from worker.decode import Decoded, decode, prepare

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

#: Says to Classyard what `read_pictures` does here; the network scales the pixels itself.
MODEL_TOML: Final = """\
description = {description}

[input]
height = {side}
width = {side}
preprocessing = "none"
resize = "crop"
crop_fraction = 1.0
filter = "bilinear"

[check]
image = "check.png"
label = {label}
"""

#: One picture in so many is held out.
HELD_OUT: Final = 5


@dataclass(frozen=True)
class Pictures:
    """Pixels uint8 `[N, side, side, 3]`, the class index of each, and where they come from."""

    pixels: NDArray[np.uint8]
    classes: NDArray[np.int64]
    paths: Sequence[Path]


def main() -> None:
    """Train, measure, and write the model folder."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("pictures", type=Path, help="folder with one sub-folder per class")
    parser.add_argument("-o", "--output", type=Path, required=True, help="model folder to write")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--side", type=int, default=160, help="pixels")
    parser.add_argument("--from-scratch", action="store_true", help="without ImageNet's weights")
    given = parser.parse_args()

    labels = sorted(path.name for path in given.pictures.glob("[!.]*") if path.is_dir())
    if len(labels) < 2:
        parser.error(f"{given.pictures} needs a sub-folder for each of two classes or more")
    training, held_out = split(given.pictures, labels, given.side)
    network = small_network if given.from_scratch else on_mobilenet
    model = network(given.side, len(labels))
    model.compile("adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(training.pixels, training.classes, batch_size=16, epochs=given.epochs, verbose=2)
    scores = model.predict(held_out.pixels, batch_size=16, verbose=0)
    accuracy = float((scores.argmax(axis=1) == held_out.classes).mean())
    print(f"{accuracy:.1%} of {len(held_out.classes)} held-out pictures are named right")
    write_folder(given.output, model, labels, held_out, scores)
    print(f"now: classyard models add {given.output}")


def split(folder: Path, labels: Sequence[str], side: int) -> tuple[Pictures, Pictures]:
    """Read all pictures; every fifth of a class is held out."""
    parts: tuple[list[tuple[Path, int]], list[tuple[Path, int]]] = ([], [])
    for index, label in enumerate(labels):
        for number, path in enumerate(sorted((folder / label).glob("[!.]*"))):
            parts[number % HELD_OUT == 0].append((path, index))
    training, held_out = (read_pictures(part, side) for part in parts)
    return training, held_out


def read_pictures(part: Sequence[tuple[Path, int]], side: int) -> Pictures:
    """Read pictures with Classyard's own decoder, as `[input]` says; leave out what is none."""
    limits = read_settings().image_limits
    prepare(limits)
    spec = InputSpec(height=side, width=side, crop_fraction=1.0)
    found = []
    for path, index in part:
        decoded = decode(path.read_bytes(), spec, limits) if path.is_file() else None
        if isinstance(decoded, Decoded):
            found.append((decoded.pixels, index, path))
        else:
            print(f"{path} is left out: {decoded.detail if decoded else 'no file'}")
    if not found:
        raise SystemExit("too few pictures: each class needs some to train on and some to hold out")
    pixels, classes, paths = zip(*found, strict=True)
    return Pictures(np.stack(pixels), np.array(classes), paths)


def on_mobilenet(side: int, classes: int) -> Any:
    """Return MobileNetV2's features, frozen, with a new layer on top."""
    import keras

    weights = read_model("mobilenet_v2", read_settings().models_path).weights
    if not weights.exists():
        raise SystemExit(
            f"no ImageNet weights at {weights}: 'classyard models check mobilenet_v2' downloads "
            "them; without them, --from-scratch"
        )
    whole = keras.applications.MobileNetV2(weights=None, input_shape=(side, side, 3))
    whole.load_weights(weights)
    features = keras.Model(whole.input, whole.layers[-2].output)  # all but its 1,000 classes
    features.trainable = False
    pixels = keras.Input((side, side, 3))
    values = features(keras.layers.Rescaling(1 / 127.5, -1.0)(pixels), training=False)
    values = keras.layers.Dropout(0.2)(values)
    return keras.Model(pixels, keras.layers.Dense(classes, activation="softmax")(values))


def small_network(side: int, classes: int) -> Any:
    """Return a small network with random weights."""
    import keras
    from keras import layers

    return keras.Sequential(
        [
            keras.Input((side, side, 3)),
            layers.Rescaling(1 / 127.5, -1.0),
            layers.Conv2D(16, 3, strides=2, activation="relu"),
            layers.Conv2D(32, 3, strides=2, activation="relu"),
            layers.Conv2D(64, 3, strides=2, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dropout(0.2),
            layers.Dense(classes, activation="softmax"),
        ]
    )


def write_folder(
    folder: Path,
    model: Any,
    labels: Sequence[str],
    held_out: Pictures,
    scores: NDArray[np.float32],
) -> None:
    """Write what `classyard models add` takes; the picture that is surest and right becomes the check."""
    own = scores[np.arange(len(scores)), held_out.classes]
    right = scores.argmax(axis=1) == held_out.classes
    if not right.any():
        raise SystemExit(
            "no held-out picture is named right: train longer, or look at the pictures"
        )
    best = int(np.where(right, own, 0).argmax())
    folder.mkdir(parents=True, exist_ok=True)
    model.save(folder / "model.keras")
    (folder / "labels.txt").write_text("".join(f"{label}\n" for label in labels), "utf-8")
    # Copied as it is shown to the network: cut and resized once, it stays what it is.
    Image.fromarray(held_out.pixels[best]).save(folder / "check.png")
    words = MODEL_TOML.format(
        description=quoted(
            f"Trained on pictures of {held_out.paths[0].parent.parent.name}; "
            f"{right.mean():.1%} of {len(right)} held out are named right"
        ),
        side=held_out.pixels.shape[1],
        label=quoted(labels[held_out.classes[best]]),
    )
    (folder / "model.toml").write_text(words, "utf-8")


def quoted(text: str) -> str:
    """Return a text as TOML writes it."""
    return json.dumps(text, ensure_ascii=False)


if __name__ == "__main__":
    main()
