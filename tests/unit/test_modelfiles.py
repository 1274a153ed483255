"""Static checks of a model's files: each fault is one line that names the file."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from core.errors import ModelError
from core.modelfiles import check_embeddings, check_files
from core.modelparts import CheckSpec, OutputSpec
from core.modelspec import ModelSpec, read_model

if TYPE_CHECKING:
    from pathlib import Path


def dense(units: int, name: str = "scores") -> dict[str, Any]:
    return {"class_name": "Dense", "name": name, "config": {"units": units}}


def sequential(*layers: dict[str, Any]) -> dict[str, Any]:
    return {"class_name": "Sequential", "config": {"layers": list(layers)}}


def write_keras(path: Path, config: object) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("model.weights.h5", b"w" * 5000)


def write_hdf5(path: Path, *, version: int, closed_at: int, size: int) -> None:
    where, sizes_at = {0: (40, 13), 2: (28, 9), 3: (28, 9)}[version]
    data = bytearray(size)
    data[:9] = b"\x89HDF\r\n\x1a\n" + bytes([version])
    data[sizes_at] = 8
    data[where : where + 8] = closed_at.to_bytes(8, "little")
    path.write_bytes(data)


@pytest.fixture
def spec(tmp_path: Path) -> ModelSpec:
    """A model of our own with three labels."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "model.toml").write_text("[input]\nheight = 8\nwidth = 8\n", "utf-8")
    (folder / "labels.txt").write_text("a\nb\nc\n", "utf-8")
    write_keras(folder / "model.keras", sequential(dense(3)))
    return read_model("mine", tmp_path)


def refused(spec: ModelSpec, message: str) -> None:
    with pytest.raises(ModelError, match=message) as error:
        check_files(spec)
    assert "\n" not in str(error.value)


def test_whole_models_pass(spec: ModelSpec, tmp_path: Path) -> None:
    check_files(spec)
    check_files(read_model("digits", tmp_path))


def test_missing_weights_name_the_place(spec: ModelSpec) -> None:
    spec.weights.unlink()
    refused(spec, r"model 'mine' has no weights: put them at .*/mine/model\.keras")
    check_files(spec, weights_needed=False)


def test_embeddings_are_not_promised_of_a_network_that_has_none(
    spec: ModelSpec, tmp_path: Path
) -> None:
    check_embeddings(spec)
    (spec.folder / "model.keras").unlink()
    (spec.folder / "model.tflite").write_bytes(b"1234TFL3")
    spec = read_model("mine", tmp_path)
    for asked in (spec, replace(spec, name="both", members=(spec, spec))):
        with pytest.raises(ModelError, match=r"model 'mine' has no embeddings: its model\.tflite"):
            check_embeddings(asked)
    check_embeddings(replace(spec, output=OutputSpec(embedding="features")))


@pytest.mark.parametrize("keep", [0, 3, 100, -1, -2000])
def test_truncated_keras_files_are_refused(spec: ModelSpec, keep: int) -> None:
    data = spec.weights.read_bytes()
    spec.weights.write_bytes(data[:keep])
    refused(spec, r"model\.keras: not a whole \.keras file")


def test_a_flipped_byte_is_found(spec: ModelSpec) -> None:
    data = bytearray(spec.weights.read_bytes())
    data[data.index(b"wwww") + 1000] ^= 1
    spec.weights.write_bytes(data)
    refused(spec, r"damaged \(model\.weights\.h5\)")


def test_a_zip_of_something_else_is_refused(spec: ModelSpec) -> None:
    with zipfile.ZipFile(spec.weights, "w") as archive:
        archive.writestr("readme.txt", "hello")
    refused(spec, r"no readable config\.json")


@pytest.mark.parametrize(
    "config",
    [
        sequential(dense(7)),
        sequential(dense(7), {"class_name": "Activation", "config": {}}),
        {
            "class_name": "Functional",
            "config": {
                "layers": [dense(7), dense(3, "side")],
                "output_layers": [["scores", 0, 0]],
            },
        },
    ],
)
def test_outputs_must_fit_the_labels(spec: ModelSpec, config: object) -> None:
    write_keras(spec.weights, config)
    refused(spec, r"model 'mine' has 7 outputs but labels\.txt has 3 labels")


@pytest.mark.parametrize(
    "config",
    [
        {},
        [],
        {"class_name": "Custom", "config": {}},
        sequential(),
        sequential({"class_name": "Flatten", "config": {}}),
    ],
)
def test_what_cannot_be_told_is_left_to_the_engine(spec: ModelSpec, config: object) -> None:
    write_keras(spec.weights, config)
    check_files(spec)


def test_one_sigmoid_unit_serves_two_labels(spec: ModelSpec) -> None:
    write_keras(spec.weights, sequential(dense(1)))
    two = replace(spec, labels=("no", "yes"))
    refused(two, "has 1 output but labels.txt has 2 labels")
    check_files(replace(two, output=OutputSpec(activation="sigmoid")))


@pytest.mark.parametrize("version", [0, 2, 3])
def test_truncated_hdf5_is_found(spec: ModelSpec, tmp_path: Path, version: int) -> None:
    weights = tmp_path / "x.weights.h5"
    application = replace(spec, application="MobileNetV2", weights=weights)
    write_hdf5(weights, version=version, closed_at=4096, size=4096)
    check_files(application)
    write_hdf5(weights, version=version, closed_at=4096, size=4095)
    refused(application, r"x\.weights\.h5: truncated: 4095 of 4096 bytes")


@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n", b"version https://git-lfs" * 9])
def test_what_is_no_hdf5_is_refused(spec: ModelSpec, tmp_path: Path, content: bytes) -> None:
    weights = tmp_path / "x.weights.h5"
    weights.write_bytes(content)
    refused(replace(spec, application="MobileNetV2", weights=weights), "not an HDF5 file")


def test_real_hdf5_files_pass_and_their_halves_do_not(spec: ModelSpec, tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    weights = tmp_path / "x.weights.h5"
    for libver in ("earliest", "latest"):
        with h5py.File(weights, "w", libver=libver) as file:
            file["kernel"] = list(range(2000))
        application = replace(spec, application="MobileNetV2", weights=weights)
        check_files(application)
        weights.write_bytes(weights.read_bytes()[:-100])
        refused(application, "truncated")


def test_the_self_check_must_be_possible(spec: ModelSpec) -> None:
    with_check = replace(spec, check=CheckSpec(image="check.png", label="z"))
    refused(with_check, r"no check image: .*check\.png is missing")
    (spec.folder / "check.png").touch()
    refused(with_check, "check label 'z' is not a label")
