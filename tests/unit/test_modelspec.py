"""Reading `model.toml`: what is understood, what is refused, and what makes a fingerprint."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from core.errors import ModelError
from core.modelspec import CATALOG, InputSpec, model_names, read_model

if TYPE_CHECKING:
    from pathlib import Path

TOML = """
[input]
height = 8
width = 8
"""


def write_model(root: Path, name: str = "mine", toml: str = TOML, labels: str = "a\nb\n") -> Path:
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "model.toml").write_text(toml, "utf-8")
    (folder / "labels.txt").write_text(labels, "utf-8")
    (folder / "model.keras").write_bytes(b"weights")
    return folder


def test_built_in_models_are_known(tmp_path: Path) -> None:
    assert list(model_names(tmp_path)) == ["digits", "mobilenet_v2", "resnet50"]


@pytest.mark.parametrize("name", ["digits", "mobilenet_v2", "resnet50"])
def test_built_in_models_are_whole(tmp_path: Path, name: str) -> None:
    spec = read_model(name, tmp_path)
    if name != "resnet50":
        assert spec.check is not None
        assert spec.check.label in spec.labels
        assert spec.check_image is not None
        assert spec.check_image.is_file()
    assert len(spec.labels) == (10 if name == "digits" else 1000)


def test_every_imagenet_class_has_its_wnid() -> None:
    wnids = (CATALOG / "imagenet" / "wnids.txt").read_text("utf-8").split()
    assert len(wnids) == len(set(wnids)) == 1000
    assert wnids[0] == "n01440764"


def test_shipped_digits_stay_small() -> None:
    files = [file for file in (CATALOG / "digits").iterdir() if file.is_file()]
    assert sum(file.stat().st_size for file in files) < 200_000


def test_own_model_wins_over_a_built_in_one(tmp_path: Path) -> None:
    write_model(tmp_path, "digits")
    spec = read_model("digits", tmp_path)
    assert spec.labels == ("a", "b")
    assert spec.weights == tmp_path / "digits" / "model.keras"


def test_unknown_model_says_which_are_known(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no model 'nix' \(known: digits, mobilenet_v2, resnet50"):
        read_model("nix", tmp_path)


@pytest.mark.parametrize("name", ["..", "../digits", "a/b", ""])
def test_a_name_is_no_path(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelError, match="no model"):
        read_model(name, tmp_path)


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("[input", "model.toml: "),
        ("", "input: Field required"),
        (TOML + "colour = 'rgb'", "input.colour: Extra inputs are not permitted"),
        (TOML.replace("8", "0"), "input.height: Input should be greater than 0"),
        (TOML + "preprocessing = 'vgg'", "input.preprocessing: Input should be 'tf'"),
        (TOML + "color = 'gray'\npreprocessing = 'caffe'", "mean per colour"),
        ("application = '../evil'" + TOML, "application: String should match"),
        ("cached_as = '../x.h5'" + TOML, "cached_as: String should match"),
    ],
)
def test_malformed_documents_are_named(tmp_path: Path, toml: str, message: str) -> None:
    write_model(tmp_path, toml=toml)
    with pytest.raises(ModelError) as error:
        read_model("mine", tmp_path)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("labels", ["", "a\n\nb\n", "a\n  \n"])
def test_empty_labels_are_refused(tmp_path: Path, labels: str) -> None:
    write_model(tmp_path, labels=labels)
    with pytest.raises(ModelError, match="one label per line"):
        read_model("mine", tmp_path)


def test_gray_has_one_channel() -> None:
    assert InputSpec(height=8, width=8, color="gray").channels == 1
    assert InputSpec(height=8, width=8).channels == 3


def test_weights_of_an_application_are_looked_for_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    ours = tmp_path / "models" / "resnet50" / "resnet50.weights.h5"
    cached = tmp_path / "keras/models/resnet50_weights_tf_dim_ordering_tf_kernels.h5"
    cached.parent.mkdir(parents=True)
    ours.parent.mkdir(parents=True)

    assert read_model("resnet50", tmp_path / "models").weights == ours  # where to put them
    cached.touch()
    assert read_model("resnet50", tmp_path / "models").weights == cached
    ours.touch()
    assert read_model("resnet50", tmp_path / "models").weights == ours


def test_fingerprint_without_weights_says_where_they_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    with pytest.raises(ModelError, match=r"put them at .*/mobilenet_v2\.weights\.h5"):
        _ = read_model("mobilenet_v2", tmp_path).fingerprint


def test_fingerprint_changes_with_whatever_changes_an_answer(tmp_path: Path) -> None:
    def fingerprint(name: str, **changed: str) -> str:
        write_model(tmp_path, name, **changed)
        return read_model(name, tmp_path).fingerprint

    first = fingerprint("first")
    assert fingerprint("same") == first
    described = "description = 'other words'" + TOML
    assert fingerprint("described", toml=described) == first
    assert fingerprint("resized", toml=TOML.replace("8", "9")) != first
    assert fingerprint("logits", toml=TOML + "[output]\nactivation = 'logits'") != first
    assert fingerprint("labelled", labels="a\nc\n") != first
    write_model(tmp_path, "retrained")
    (tmp_path / "retrained" / "model.keras").write_bytes(b"other weights")
    assert read_model("retrained", tmp_path).fingerprint != first
