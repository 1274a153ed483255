"""`classyard models`: added whole and checked or not at all, found wrong in one line, removed."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from core.modelspec import read_model
from core.prepare import prepared_file
from tests.support.yard import ROOT
from worker.engines.base import Child
from worker.models import Models

if TYPE_CHECKING:
    from tests.support.yard import Yard

DIGITS = ROOT / "core" / "catalog" / "digits"
SAMPLE = ROOT / "producer" / "samples" / "digits" / "digit-2-0187.png"

FILTERS = {"one": "bilinear", "two": "bicubic"}

pytestmark = pytest.mark.tensorflow


def own_tflite(ready: Yard, place: Path) -> Path:
    """The digits as a `.tflite` file that takes uint8: added without TensorFlow, so quickly."""
    converted = prepared_file(read_model("digits", ready.settings.models_path), ready.settings)
    shutil.copy(converted, place / "network.tflite")
    shutil.copy(DIGITS / "labels.txt", place / "labels.txt")
    return place / "network.tflite"


def in_models(ready: Yard) -> list[str]:
    folder = ready.settings.models_path
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_a_network_is_added_checked_used_and_removed(ready: Yard, tmp_path: Path) -> None:
    network = own_tflite(ready, tmp_path)
    words = ("models", "add", str(network), "--name", "mine", "--preprocessing", "none")
    nameless = ready.command(*words)
    assert nameless.code == 2
    assert nameless.err.endswith("gives 10 scores: name them with --labels FILE\n")

    labels = ("--labels", str(tmp_path / "labels.txt"))
    added = ready.command(*words, *labels, "--json")
    assert added.code == 0, added.err
    said = json.loads(added.out)
    assert (said["name"], said["state"], said["labels"]) == ("mine", "added", 10)
    assert in_models(ready) == ["mine"]
    document = (ready.settings.models_path / "mine" / "model.toml").read_text("utf-8")
    assert 'color = "gray"' in document
    assert 'activation = "softmax"' in document

    checked = ready.command("models", "check", "mine")
    assert checked.out == f"mine: ok, 10 labels, fingerprint {said['fingerprint']}\n"
    assert checked.err.startswith("mine: no [check] picture")
    answer = ready.command("run", str(SAMPLE), "--model", "mine", "--json")
    assert answer.code == 0, answer.err
    assert "2" in answer.out

    again = ready.command(*words, *labels)
    assert again.code == 1
    assert again.err == ("classyard: there is a model 'mine': say --replace, or another --name\n")
    replaced = ready.command(*words, *labels, "--replace", "--link")
    assert replaced.code == 0, replaced.err
    assert (ready.settings.models_path / "mine" / "model.tflite").is_symlink()

    removed = ready.command("models", "remove", "mine", "--json")
    assert json.loads(removed.out)["name"] == "mine"
    assert in_models(ready) == []
    assert network.exists()
    assert ready.command("models", "remove", "mine").code == 1


def test_what_cannot_be_served_is_not_added(ready: Yard, tmp_path: Path) -> None:
    folder = tmp_path / "wrong"
    folder.mkdir()
    own_tflite(ready, folder).rename(folder / "model.tflite")
    document = "[input]\nheight = 32\nwidth = 32\ncolor = 'gray'\nresize = 'squash'\n"
    for text, labels, message in (
        (document, "a\nb\n", "has 10 outputs but labels.txt has 2 labels"),
        (document.replace("32", "31"), None, "takes (1, 32, 32, 1) but its [input] is (-1, 31, 31"),
        (document + "layout = 'channels_first'\n", None, 'say input.layout = "channels_last"'),
        (document + "[output]\nactivation = 'logits'\n[check]\nimage = 'no.png'\nlabel = '2'\n", None,
         "has no check image"),
        (document + f"[check]\nimage = '{SAMPLE}'\nlabel = '3'\n", None, "calls"),
    ):  # fmt: skip
        (folder / "model.toml").write_text(text, "utf-8")
        shutil.copy(DIGITS / "labels.txt", folder / "labels.txt")
        if labels:
            (folder / "labels.txt").write_text(labels, "utf-8")
        done = ready.command("models", "add", str(folder))
        assert done.code == 1, done.out
        assert message in done.err
        assert done.err.count("\n") == 1
        assert ".adding" not in done.err
        assert in_models(ready) == []


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("net.onnx", b"\x08\x07", "ONNX is not served: convert it to a SavedModel or .tflite"),
        ("net.h5", b"\x89HDF", "may run any code when it is loaded: save the network as .keras"),
        ("net.pth", b"PK", "PyTorch networks are not served: convert to .tflite"),
        ("net.keras", b"PK\x03\x04 cut off", "not a whole .keras file"),
        ("net.tflite", b"no flatbuffer", "not a .tflite file: copy it again"),
        ("net.txt", b"hello", "is no folder with a model.toml, no .keras or .tflite file"),
    ],
)
def test_a_file_that_is_no_network_says_what_to_do(
    ready: Yard, tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    done = ready.command("models", "add", str(tmp_path / name))
    assert done.code in {1, 2}
    assert message in done.err
    assert done.err.count("\n") == 1


def test_a_folder_that_nobody_may_write_to_is_added_and_removed(
    ready: Yard, tmp_path: Path
) -> None:
    folder = tmp_path / "mine"
    (folder / "pictures").mkdir(parents=True)
    own_tflite(ready, folder).rename(folder / "model.tflite")
    document = "[input]\nheight = 32\nwidth = 32\ncolor = 'gray'\n"
    (folder / "model.toml").write_text(document, "utf-8")
    for path in (folder / "pictures", folder):
        path.chmod(0o555)
    assert ready.command("models", "add", str(folder)).code == 0
    added = ready.settings.models_path / "mine"
    assert {path.stat().st_mode & 0o200 for path in (added, added / "pictures")} == {0o200}
    assert ready.command("models", "remove", "mine").code == 0
    assert in_models(ready) == []
    for path in (folder, folder / "pictures"):
        path.chmod(0o755)


def test_of_two_models_added_at_once_under_one_name_one_stays(ready: Yard, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    own_tflite(ready, folder).rename(folder / "model.tflite")
    words = ("models", "add", str(folder))
    document = "[input]\nheight = 32\nwidth = 32\ncolor = 'gray'\n"
    (folder / "model.toml").write_text(document, "utf-8")
    ready.settings.models_path.mkdir()
    with ThreadPoolExecutor(3) as pool:
        done = list(pool.map(lambda _: ready.command(*words), range(3)))
    assert sorted(one.code for one in done) == [0, 1, 1]
    assert all("say --replace" in one.err for one in done if one.code)
    assert in_models(ready) == ["mine"]


def test_a_wrong_preprocessing_is_suspected(ready: Yard, tmp_path: Path) -> None:
    folder = tmp_path / "digits2"
    folder.mkdir()
    own_tflite(ready, folder).rename(folder / "model.tflite")  # takes 0..255
    shutil.copy(DIGITS / "check.png", folder)
    document = "[input]\nheight = 32\nwidth = 32\ncolor = 'gray'\npreprocessing = 'unit'\n"
    check = "[check]\nimage = 'check.png'\nlabel = '7'\n"
    (folder / "model.toml").write_text(document + check, "utf-8")
    done = ready.command("models", "add", str(folder))
    assert done.code == 1
    assert "not '7': wrong weights or preprocessing: with preprocessing = \"none\"" in done.err
    assert done.err.count("\n") == 1
    tiny = document.replace("'unit'", "'none'\nstd = 100000.0")
    (folder / "model.toml").write_text(tiny, "utf-8")
    ready.command("models", "add", str(folder))
    checked = ready.command("models", "check", "digits2", "--json")
    assert checked.code == 0, checked.err
    remarks = json.loads(checked.out)["remarks"]
    assert any("wrong scaling suspected: preprocessing is 'none'" in line for line in remarks)


@pytest.mark.filterwarnings("default:.*:DeprecationWarning:ai_edge_litert")
def test_a_child_holds_models_up_to_a_bound(ready: Yard) -> None:
    fingerprints = {}
    for name in ("one", "two"):
        folder = ready.settings.models_path / name
        folder.mkdir(parents=True)
        own_tflite(ready, folder).rename(folder / "model.tflite")
        (folder / "model.toml").write_text(
            f"[input]\nheight = 32\nwidth = 32\ncolor = 'gray'\nfilter = '{FILTERS[name]}'\n",
            "utf-8",
        )
        spec = read_model(name, ready.settings.models_path)
        fingerprints[name] = spec.fingerprint
    for memory, stays in ((spec.size * 3, True), (spec.size * 3 // 2, False), (0, False)):
        settings = ready.settings.model_copy(update={"model_memory": memory})
        models = Models(settings, Child(), lambda: None, ())
        first = models.get("one", fingerprints["one"])
        assert models.get("one", fingerprints["one"]) is first
        models.get("two", fingerprints["two"])
        assert (models.get("one", fingerprints["one"]) is first) == stays
        models.close()


def test_the_list_names_what_is_here_and_what_could_be(ready: Yard) -> None:
    listed = ready.command("models")
    assert "digits" in listed.out
    assert "efficientnet_b0" in listed.out
    as_json = json.loads(ready.command("models", "--json").out)
    assert len(as_json) == 41
    assert {one["state"] for one in as_json if one["name"] == "digits"} == {"ready"}
