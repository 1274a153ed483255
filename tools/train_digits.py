"""Train the built-in `digits` network and write all that it ships with.

The pictures are scikit-learn's handwritten digits (UCI, 1,797 of 8x8 grey levels). A stratified fifth
is held out: it is never trained on, tells the accuracy, and gives the sample pictures.

    python tools/train_digits.py                       write core/catalog/digits, producer/samples/digits
    python tools/train_digits.py --export-test DIR     only write the held-out pictures and truth.csv
"""

from __future__ import annotations

import argparse
import csv
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from PIL import Image
from scipy import ndimage

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROOT: Final = Path(__file__).parent.parent
CATALOG: Final = ROOT / "core" / "catalog" / "digits"
SAMPLES: Final = ROOT / "producer" / "samples" / "digits"
SEED: Final = 20
EPOCHS: Final = 60
SAMPLES_PER_DIGIT: Final = 6
MIN_ACCURACY: Final = 0.97
#: Side of a drawn picture: large enough for a person, a kilobyte or so as PNG.
DRAWN: Final = 64


@dataclass(frozen=True)
class Split:
    """Pictures with their true digits and their numbers in scikit-learn's data set."""

    pictures: list[Image.Image]
    digits: NDArray[np.int64]
    numbers: NDArray[np.int64]


def draw(levels: NDArray[np.float64]) -> Image.Image:
    """Draw 8x8 grey levels (0..16) as a person would see them: dark ink on white paper."""
    paper = (255 - levels * (255 / 16)).round().astype(np.uint8)
    return Image.fromarray(paper).resize((DRAWN, DRAWN), Image.Resampling.BICUBIC)


def split() -> tuple[Split, Split]:
    """Return the training and the held-out pictures: always the same ones."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    data = load_digits()
    parts = train_test_split(
        np.arange(len(data.target)), test_size=0.2, random_state=SEED, stratify=data.target
    )
    train, held_out = (
        Split([draw(data.images[i]) for i in part], data.target[part], part) for part in parts
    )
    return train, held_out


def pixels(pictures: list[Image.Image]) -> NDArray[np.float32]:
    """Return what the network is fed: resized as `model.toml` says, 0..1."""
    rule = tomllib.loads((CATALOG / "model.toml").read_text("utf-8"))["input"]
    size = (rule["width"], rule["height"])
    resized = [np.asarray(p.resize(size, Image.Resampling.BILINEAR)) for p in pictures]
    return np.stack(resized)[..., None].astype(np.float32) / 255


def vary(batch: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
    """Turn, scale, shift and half of the time invert each picture, as other pens and papers do."""
    varied = np.empty_like(batch)
    for i, picture in enumerate(batch[..., 0]):
        angle, scale = random.normal(0, 0.12), random.uniform(0.85, 1.2)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / scale
        centre = (np.array(picture.shape) - 1) / 2
        offset = centre - turn @ (centre + random.normal(0, 1.2, 2))
        varied[i, ..., 0] = ndimage.affine_transform(picture, turn, offset, order=1, mode="nearest")
    inverted = random.random(len(batch)) < 0.5
    varied[inverted] = 1 - varied[inverted]
    return varied


def network() -> Any:
    """Return the untrained network: three small convolutions and one dense layer."""
    import keras
    from keras import layers

    return keras.Sequential(
        [
            keras.Input((32, 32, 1)),
            layers.Conv2D(12, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(24, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(36, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dropout(0.3),
            layers.Dense(10, activation="softmax"),
        ],
        name="digits",
    )


def train(data: Split) -> Any:
    """Train on freshly varied pictures; the seed makes it repeatable on one machine."""
    import keras

    keras.utils.set_random_seed(SEED)
    random = np.random.default_rng(SEED)
    plain = pixels(data.pictures)
    model = network()
    steps = EPOCHS * -(-len(plain) // 32)
    rate = keras.optimizers.schedules.CosineDecay(2e-3, steps)
    model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy")
    for _ in range(EPOCHS):
        model.fit(vary(plain, random), data.digits, batch_size=32, epochs=1, verbose=0)
    return model


def accuracy(model: Any, data: Split) -> float:
    """Return the share of pictures that get their true digit."""
    scores = model.predict(pixels(data.pictures), batch_size=64, verbose=0)
    return float((scores.argmax(axis=1) == data.digits).mean())


def file_name(digit: int, number: int) -> str:
    """Return the name of a picture: it carries the truth, for people and for tests."""
    return f"digit-{digit}-{number:04d}.png"


def export(data: Split, folder: Path) -> None:
    """Write every picture of `data` as PNG, and `truth.csv` with file and digit."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "truth.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(("file", "label"))
        for picture, digit, number in zip(data.pictures, data.digits, data.numbers, strict=True):
            name = file_name(digit, number)
            picture.save(folder / name, optimize=True)
            rows.writerow((name, digit))


def write_samples(data: Split) -> None:
    """Write the first few held-out pictures of each digit, whether or not they are easy."""
    SAMPLES.mkdir(parents=True, exist_ok=True)
    for old in SAMPLES.glob("*.png"):
        old.unlink()
    for digit in range(10):
        for i in np.flatnonzero(data.digits == digit)[:SAMPLES_PER_DIGIT]:
            name = file_name(digit, data.numbers[i])
            data.pictures[i].save(SAMPLES / name, optimize=True)


def main() -> None:
    """Train, measure, and write the model only if it is good enough."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--export-test", type=Path, metavar="DIR")
    folder = parser.parse_args().export_test
    training, held_out = split()
    if folder:
        export(held_out, folder)
        return
    model = train(training)
    reached = accuracy(model, held_out)
    print(f"trained on {len(training.digits)} pictures, held out {len(held_out.digits)}")
    print(f"accuracy on the held-out pictures: {reached:.4f} (n={len(held_out.digits)})")
    if reached < MIN_ACCURACY:
        raise SystemExit(f"less than {MIN_ACCURACY}: nothing written")
    plain = network()  # without the optimizer, whose state would triple the file
    plain.set_weights(model.get_weights())
    plain.save(CATALOG / "model.keras")
    labels = "".join(f"{digit}\n" for digit in range(10))
    (CATALOG / "labels.txt").write_text(labels, "utf-8")
    held_out.pictures[int(np.flatnonzero(held_out.digits == 7)[0])].save(CATALOG / "check.png")
    write_samples(held_out)


if __name__ == "__main__":
    main()
