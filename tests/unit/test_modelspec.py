"""Reading `model.toml`: what is understood, what is refused, and what makes a fingerprint."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from core.applications import APPLICATIONS, CHECKS
from core.errors import ModelError
from core.kept import keep_ensemble, read_kept
from core.modelparts import InputSpec
from core.modelspec import CATALOG, model_names, read_model
from core.settings import read_settings

if TYPE_CHECKING:
    from pathlib import Path

TOML = """
[input]
height = 8
width = 8
"""
SIGMOID = "[output]\nactivation = 'sigmoid'\n"


def write_model(root: Path, name: str = "mine", toml: str = TOML, labels: str = "a\nb\n") -> Path:
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "model.toml").write_text(toml, "utf-8")
    (folder / "labels.txt").write_text(labels, "utf-8")
    (folder / "model.keras").write_bytes(b"weights")
    return folder


def test_built_in_models_are_known(tmp_path: Path) -> None:
    assert list(model_names(tmp_path)) == ["digits"]
    assert len(APPLICATIONS) == 40


def test_an_ensemble_is_served_where_nothing_can_be_kept(tmp_path: Path) -> None:
    """A container's HOME/converted may be read-only; here it is no folder at all."""
    for name in ("one", "two"):
        write_model(tmp_path, name)
    ensemble(tmp_path, "[ensemble]\nmembers = ['one', 'two']")
    spec, settings = read_model("both", tmp_path), read_settings(home=tmp_path)
    (tmp_path / "converted").write_text("in the way", "utf-8")
    keep_ensemble(spec, settings)
    assert read_kept(spec.fingerprint, settings) is None


@pytest.mark.parametrize("name", ["digits", *APPLICATIONS])
def test_built_in_models_are_whole(tmp_path: Path, name: str) -> None:
    spec = read_model(name, tmp_path)
    if name in CHECKS or name == "digits":
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
    with pytest.raises(ModelError, match=r"no model 'nix' \(known: digits, and those of"):
        read_model("nix", tmp_path)


def test_a_typing_mistake_is_answered_with_what_was_meant(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="did you mean 'mobilenet_v2'"):
        read_model("mobilnet_v2", tmp_path)


@pytest.mark.parametrize(
    "name", ["EfficientNetV2B0", "efficientnet_v2_b0", "efficientnet-v2-b0", "efficientnetv2b0"]
)
def test_applications_are_found_however_they_are_written(tmp_path: Path, name: str) -> None:
    spec = read_model(name, tmp_path)
    assert (spec.name, spec.application) == ("efficientnet_v2_b0", "EfficientNetV2B0")
    place = tmp_path / "efficientnet_v2_b0" / "efficientnet_v2_b0.weights.h5"
    assert spec.weights == place or "efficientnetv2-b0.h5" in spec.weights.name


def test_an_application_in_a_document_brings_what_it_does_not_say(tmp_path: Path) -> None:
    folder = write_model(
        tmp_path, toml="application = 'EfficientNetB3'\n[input]\nresize = 'squash'"
    )
    spec = read_model("mine", tmp_path)
    assert (spec.input.height, spec.input.resize, spec.input.filter) == (300, "squash", "bicubic")
    assert spec.labels == ("a", "b")
    (folder / "labels.txt").unlink()
    assert len(read_model("mine", tmp_path).labels) == 1000


@pytest.mark.parametrize("name", ["..", "../digits", "a/b", ""])
def test_a_name_is_no_path(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelError, match="no model"):
        read_model(name, tmp_path)


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("[input", "model.toml: "),
        ("", "input: Field required"),
        (TOML + "colour = 'rgb'", "input.colour: no such key"),
        (TOML.replace("width", "widht"), "input.widht: no such key"),
        (TOML.replace("8", "0"), "input.height: Input should be greater than 0"),
        (TOML + "preprocessing = 'vgg'", "input.preprocessing: Input should be 'tf'"),
        (TOML + "color = 'gray'\npreprocessing = 'caffe'", "mean per colour"),
        (TOML + "mean = [1, 2]", "toml: input: mean has 2 numbers"),
        (TOML + "std = [1, 0, 1]", "std divides"),
        (TOML + "preprocessing = 'tf'\nmean = 3", "has a mean and std of its own"),
        (TOML + "color = 'bgr'\npreprocessing = 'caffe'", "turns rgb into bgr itself"),
        (TOML + "[output]\nthreshold = 0.3", "output.threshold: only for kind binary"),
        (TOML + "[output]\nthreshold = 1.3", "output.threshold: Input should be less than 1"),
        (TOML + SIGMOID + "[output.thresholds]\nz = 0.2", "'z' is not a label"),
        (TOML + SIGMOID + "[output.thresholds]\na = 0.2", "a binary model has one threshold"),
        (TOML + SIGMOID + "kind = 'multilabel'\nthreshold = 0.5\nnone = 'a'", "one of the labels"),
        (TOML + "[output]\nkind = 'multilabel'", "multilabel needs activation sigmoid"),
        (TOML + SIGMOID + "kind = 'multiclass'", "multiclass needs activation softmax"),
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


@pytest.mark.parametrize(
    "content",
    [b"\xef\xbb\xbfa\r\nb\r\n", b"a\nb", b"a \n\tb\n\n", "a\nb\n".encode("utf-8-sig")],
    ids=["from Windows", "no last line end", "spaces, empty last line", "marked"],
)
def test_labels_are_what_a_person_sees(tmp_path: Path, content: bytes) -> None:
    folder = write_model(tmp_path)
    (folder / "labels.txt").write_bytes(content)
    (folder / "model.toml").write_bytes(b"\xef\xbb\xbf" + TOML.replace("\n", "\r\n").encode())
    assert read_model("mine", tmp_path).labels == ("a", "b")


@pytest.mark.parametrize("name", ["labels.txt", "model.toml"])
def test_text_of_another_encoding_is_refused(tmp_path: Path, name: str) -> None:
    folder = write_model(tmp_path)
    (folder / name).write_bytes("größe".encode("utf-16"))
    with pytest.raises(ModelError, match=f"{name}: not UTF-8: save it as UTF-8"):
        read_model("mine", tmp_path)


def test_missing_labels_say_what_is_wanted(tmp_path: Path) -> None:
    (write_model(tmp_path) / "labels.txt").unlink()
    with pytest.raises(ModelError, match=r"labels\.txt: missing: one label per line"):
        read_model("mine", tmp_path)


@pytest.mark.parametrize("labels", ["", "a\n\nb\n", "a\n  \nb\n"])
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


@pytest.mark.parametrize("file", ["model.onnx", "model.h5", "model.pt", "model.pb"])
def test_networks_that_are_not_served_say_what_to_do(tmp_path: Path, file: str) -> None:
    folder = write_model(tmp_path)
    (folder / "model.keras").rename(folder / file)
    with pytest.raises(ModelError, match=r"not served|save the network as|may run any code"):
        read_model("mine", tmp_path)


def test_two_networks_in_one_folder_must_be_told_apart(tmp_path: Path) -> None:
    folder = write_model(tmp_path)
    (folder / "model.tflite").write_bytes(b"other")
    with pytest.raises(ModelError, match=r"several networks \(model\.keras, model\.tflite\)"):
        read_model("mine", tmp_path)
    (folder / "model.toml").write_text("network = 'model.tflite'\n" + TOML, "utf-8")
    assert read_model("mine", tmp_path).source == "tflite"


def test_the_fingerprint_of_a_saved_model_covers_all_its_files(tmp_path: Path) -> None:
    folder = write_model(tmp_path)
    (folder / "model.keras").unlink()
    variables = folder / "saved_model" / "variables"
    variables.mkdir(parents=True)
    (folder / "saved_model" / "saved_model.pb").write_bytes(b"graph")
    (variables / "variables.index").write_bytes(b"index")
    first = read_model("mine", tmp_path)
    assert first.source == "saved_model"
    before = first.fingerprint
    (variables / "variables.index").write_bytes(b"other")
    assert read_model("mine", tmp_path).fingerprint != before


def ensemble(root: Path, toml: str) -> None:
    (root / "both").mkdir(exist_ok=True)
    (root / "both" / "model.toml").write_text(toml, "utf-8")


def test_an_ensemble_is_its_members(tmp_path: Path) -> None:
    write_model(tmp_path, "one")
    write_model(tmp_path, "two", toml=TOML + "preprocessing = 'tf'")
    ensemble(tmp_path, "[ensemble]\nmembers = ['one', 'two']\nweights = [1, 3]")
    spec = read_model("both", tmp_path)
    assert [member.name for member in spec.members] == ["one", "two"]
    assert (spec.shares, spec.labels, spec.source) == ((0.25, 0.75), ("a", "b"), "ensemble")
    before = spec.fingerprint
    (tmp_path / "two" / "model.keras").write_bytes(b"other weights")
    assert read_model("both", tmp_path).fingerprint != before
    ensemble(tmp_path, "[ensemble]\nmembers = ['one', 'two']\n[augment]\nflip = true")
    assert read_model("both", tmp_path).augment.flip


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (["one"], "at least 2"),
        (["one", "larger"], "'larger' and 'one' differ in size, crop and filter"),
        (["one", "named"], "'named' and 'one' differ in labels"),
        (["one", "both"], "an ensemble cannot be a member of an ensemble"),
        (["one", "nix"], "no model 'nix'"),
    ],
)
def test_what_cannot_be_averaged_is_refused(
    tmp_path: Path, members: list[str], message: str
) -> None:
    write_model(tmp_path, "one")
    write_model(tmp_path, "larger", toml=TOML.replace("8", "9"))
    write_model(tmp_path, "named", labels="a\nc\n")
    ensemble(tmp_path, f"[ensemble]\nmembers = {members}")
    with pytest.raises(ModelError, match=message):
        read_model("both", tmp_path)
