"""Engines, with real networks: right scores, one-line errors, and no TensorFlow where none is needed."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from core.applications import APPLICATIONS, find_application
from core.errors import ModelError
from core.modelspec import read_model
from core.prepare import prepare_model, prepared_file
from core.settings import Settings, read_settings
from worker.decode import Decoded, decode
from worker.engines.choose import load_engine

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from core.limits import ImageLimits
    from core.modelspec import ModelSpec

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "producer" / "samples" / "digits"
SHARED = ROOT.parent / "shared"

pytestmark = pytest.mark.filterwarnings("default:.*:DeprecationWarning:ai_edge_litert")


def settings_for(home: Path, **more: Any) -> Settings:
    return read_settings(home=home, engine="litert", **more)


def start(*arguments: object, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *(str(argument) for argument in arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def start_prepare(model: str, home: Path, **environment: str) -> subprocess.Popen[str]:
    module = ("-m", "worker.engines.prepare", model)
    return start(*module, "--home", home, "--engine", "litert", **environment)


def read_pictures(files: list[Path], spec: ModelSpec, limits: ImageLimits) -> NDArray[np.uint8]:
    decoded = [decode(file.read_bytes(), spec.input, limits) for file in files]
    return np.stack([picture.pixels for picture in decoded if isinstance(picture, Decoded)])


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which two processes prepared the digits at the same moment, without a word."""
    home = tmp_path_factory.mktemp("home")
    for process in [start_prepare("digits", home), start_prepare("digits", home)]:
        assert process.communicate(timeout=100) == ("", "")
        assert process.returncode == 0
    return home


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `keras_probe.py` found."""
    script = Path(__file__).with_name("keras_probe.py")
    process = start(script, tmp_path_factory.mktemp("probe"))
    out, err = process.communicate(timeout=100)
    assert process.returncode == 0, err[-2000:]
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    return found


@pytest.mark.tensorflow
@pytest.mark.parametrize("mode", ["unit", "none"])
def test_scaling_is_plain_arithmetic(probe: dict[str, Any], mode: str) -> None:
    assert probe["scalings"][mode] < 1e-4


@pytest.mark.tensorflow
def test_every_application_of_keras_is_known(probe: dict[str, Any]) -> None:
    assert [name for name, said in probe["applications"].items() if not said["known"]] == []
    assert {find_application(name) for name in probe["applications"]} == set(APPLICATIONS.values())


@pytest.mark.tensorflow
@pytest.mark.parametrize("name", [one.keras_name for one in APPLICATIONS.values()])
def test_an_application_is_fed_as_keras_does(probe: dict[str, Any], name: str) -> None:
    said = probe["applications"][name]
    assert said["difference"] < 1e-4
    assert said["side"] == [said["keras side"]] * 2


@pytest.mark.tensorflow
@pytest.mark.parametrize("name", ["EfficientNetB0", "MobileNetV3Small"])
def test_imagenet_weights_mean_what_they_mean_to_keras(probe: dict[str, Any], name: str) -> None:
    official = probe["official"]
    assert official[f"{name} file"] == official[f"{name} ours"]
    assert official[f"{name} difference"] < 1e-4


@pytest.mark.tensorflow
@pytest.mark.parametrize("output", ["softmax", "logits", "sigmoid", "binary"])
@pytest.mark.parametrize("engine", ["keras", "litert"])
def test_scores_are_probabilities(probe: dict[str, Any], engine: str, output: str) -> None:
    assert probe["outputs"][f"{engine} {output}"] < 1e-5


@pytest.mark.tensorflow
@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("side", "model 'side' takes (None, 9, 9, 3) but its [input] is (None, 8, 8, 3)"),
        ("count", "model 'count' has 7 outputs but labels.txt has 10 labels"),
        (
            "unsafe",
            "a Lambda layer could run any code: use Keras's own layers, or save the network",
        ),
        ("custom", "it needs 'Odd' of the program that made it: save the network as a SavedModel"),
        ("signatures", "has several signatures (classify, features): call the one to be served"),
        ("diverged", "model 'diverged' gives scores that are not finite numbers"),
        ("map", "not one row of scores per image"),
        ("nothing", "keras.applications has no 'Nothing50'"),
    ],
)
def test_networks_that_cannot_serve(probe: dict[str, Any], model: str, message: str) -> None:
    assert message in probe["errors"][model]
    assert "\n" not in probe["errors"][model]


@pytest.mark.tensorflow
def test_weights_from_keras_cache(probe: dict[str, Any]) -> None:
    assert probe["legacy"] < 1e-6


@pytest.mark.tensorflow
def test_two_preparations_at_once_leave_one_file(prepared: Path) -> None:
    files = list((prepared / "converted").iterdir())
    assert len([file for file in files if file.suffix == ".tflite"]) == 1
    assert not [file for file in files if file.name.startswith("draft")]


@pytest.mark.tensorflow
def test_a_worker_needs_no_tensorflow(prepared: Path) -> None:
    program = """
import sys
from pathlib import Path
from core.modelspec import read_model
from core.settings import read_settings
from worker.engines.choose import load_engine
settings = read_settings(home=Path(sys.argv[1]), engine="litert")
load_engine(read_model("digits", settings.models_path), settings)
print(sorted({"tensorflow", "keras", "h5py", "celery", "sqlalchemy"} & set(sys.modules)))
"""
    out, err = start("-c", program, prepared).communicate(timeout=60)
    assert out == "[]\n", err


@pytest.mark.tensorflow
def test_held_out_digits_are_named(prepared: Path, tmp_path: Path) -> None:
    tool = start(ROOT / "tools" / "train_digits.py", "--export-test", tmp_path)
    assert tool.communicate(timeout=60)[1] == ""
    with (tmp_path / "truth.csv").open(newline="", encoding="utf-8") as file:
        truth = {row["file"]: row["label"] for row in csv.DictReader(file)}
    shipped = {file.name for file in SAMPLES.glob("*.png")}
    assert len(shipped) == 60
    assert shipped <= truth.keys()
    settings = settings_for(prepared)
    spec = read_model("digits", settings.models_path)
    files = [tmp_path / name for name in truth]
    scores = load_engine(spec, settings).predict(read_pictures(files, spec, settings.image_limits))
    said = [spec.labels[i] for i in scores.argmax(axis=1)]
    assert np.mean([a == b for a, b in zip(said, truth.values(), strict=True)]) >= 0.985
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-5)


@pytest.mark.tensorflow
def test_scores_do_not_depend_on_neighbours(prepared: Path) -> None:
    settings = settings_for(prepared)
    spec = read_model("digits", settings.models_path)
    pixels = read_pictures(sorted(SAMPLES.glob("*.png"))[:8], spec, settings.image_limits)
    engine = load_engine(spec, settings)
    alone = np.concatenate([engine.predict(pixels[i : i + 1]) for i in range(8)])
    np.testing.assert_array_equal(alone, engine.predict(pixels))  # to the last bit


@pytest.mark.tensorflow
def test_a_damaged_conversion_is_made_anew(prepared: Path, tmp_path: Path) -> None:
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    settings = settings_for(tmp_path)
    spec = read_model("digits", settings.models_path)
    converted = prepared_file(spec, settings)
    good = converted.read_bytes()
    converted.write_bytes(b"not a network")
    load_engine(spec, settings)
    assert len(converted.read_bytes()) == len(good)


@pytest.mark.tensorflow
def test_what_is_prepared_can_be_checked_again(prepared: Path) -> None:
    settings = settings_for(prepared)
    spec = read_model("digits", settings.models_path)
    converted = prepared_file(spec, settings)
    before = converted.stat()
    prepare_model(spec, settings, again=True)
    assert converted.stat().st_ino == before.st_ino  # checked, not converted


@pytest.mark.tensorflow
def test_a_failed_self_check_names_both_labels(prepared: Path, tmp_path: Path) -> None:
    folder = tmp_path / "models" / "swapped"
    shutil.copytree(ROOT / "core" / "catalog" / "digits", folder)
    document = (folder / "model.toml").read_text("utf-8")
    (folder / "model.toml").write_text(document.replace('label = "7"', 'label = "3"'), "utf-8")
    settings = settings_for(prepared, models_dir=tmp_path / "models")
    with pytest.raises(ModelError, match=r"it calls check\.png '7' \(1\.00\), not '3'"):
        load_engine(read_model("swapped", settings.models_path), settings)


def test_a_broken_model_is_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "broken"
    shutil.copytree(ROOT / "core" / "catalog" / "digits", folder)
    (folder / "labels.txt").write_text("zero\none\n", "utf-8")
    environment = {"CLASSYARD_MODELS_DIR": str(tmp_path / "models")}
    out, err = start_prepare("broken", tmp_path, **environment).communicate(timeout=60)
    assert out == ""
    assert err == "model 'broken': check label '7' is not a label\n"


def test_without_tensorflow_the_error_says_what_to_install(tmp_path: Path) -> None:
    program = """
import sys
sys.modules.update(dict.fromkeys(("keras", "tensorflow")))
from worker.engines.prepare import main
sys.exit(main(["digits", "--home", sys.argv[1], "--engine", "litert"]))
"""
    process = start("-c", program, tmp_path)
    assert process.communicate(timeout=60) == (
        "",
        "model 'digits' has to be converted once, which needs TensorFlow: "
        "pip install 'classyard[tensorflow]'\n",
    )
    assert process.returncode == 1


def test_a_home_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    out, err = start_prepare("digits", tmp_path / "file").communicate(timeout=60)
    assert out == ""
    assert err.startswith("model 'digits' cannot be prepared: ")
    assert err.endswith("file/converted'\n")
    assert err.count("\n") == 1


@pytest.mark.tensorflow
def test_no_weights_and_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    settings = settings_for(tmp_path)
    with pytest.raises(ModelError) as error:
        prepare_model(read_model("mobilenet_v2", settings.models_path), settings)
    place = tmp_path / "models" / "mobilenet_v2" / "mobilenet_v2.weights.h5"
    assert str(error.value) == (
        f"model 'mobilenet_v2' has no weights and they could not be downloaded: put them at {place}"
    )


@pytest.mark.tensorflow
@pytest.mark.shared
def test_mobilenet_on_photographs(tmp_path: Path) -> None:
    if not SHARED.is_dir() and not os.environ.get("CI"):
        pytest.skip(f"{SHARED} is absent: real weights and photographs are not in the repository")
    settings = settings_for(tmp_path, models_dir=SHARED / "models")
    spec = read_model("mobilenet_v2", settings.models_path)
    engine = load_engine(spec, settings)
    with (SHARED / "images" / "imagenet-200.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    right = 0
    for row in rows:
        data = (SHARED / "images" / "imagenet-200" / row["file"]).read_bytes()
        decoded = decode(data, spec.input, settings.image_limits)
        assert isinstance(decoded, Decoded)
        right += int(engine.predict(decoded.pixels[None]).argmax()) == int(row["class_index"])
    assert right / len(rows) > 0.87
