"""GPUs: none that Keras's backend cannot compute on, and as many children as the machine feeds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from core.gpus import gpu_memory, keras_backend, usable_gpus
from core.prepare import serving_engine
from core.settings import read_settings
from worker.identity import children_per_gpu, cores, slots_for

if TYPE_CHECKING:
    from pathlib import Path

GIB = 2**30


@pytest.fixture
def a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver shows two GPUs."""
    monkeypatch.setattr("core.gpus._visible_gpus", lambda: ("0", "1"))


def test_hidden_gpus_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert usable_gpus() == ()


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_a_backend_without_cuda_has_no_gpu(
    a_gpu: None, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    monkeypatch.setenv("KERAS_BACKEND", backend)
    monkeypatch.setattr("core.gpus.find_library", lambda _: None)
    assert usable_gpus() == ()
    settings = read_settings()
    assert serving_engine(settings) == "litert"
    assert slots_for(settings) == cores()


def test_a_backend_with_cuda_has_them(a_gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    monkeypatch.setattr("core.gpus.find_library", lambda _: "libcudnn.so.9")
    assert usable_gpus() == ("0", "1")
    assert serving_engine(read_settings()) == "keras"
    assert slots_for(read_settings()) >= 2
    assert slots_for(read_settings(concurrency=3)) == 3


@pytest.mark.parametrize(
    ("content", "backend"),
    [
        ('{"backend": "jax"}', "jax"),
        ("[]", "tensorflow"),
        ("{", "tensorflow"),
        ("{}", "tensorflow"),
    ],
)
def test_the_backend_is_the_one_that_keras_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, backend: str
) -> None:
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert keras_backend() == "tensorflow"
    (tmp_path / "keras.json").write_text(content)
    assert keras_backend() == backend
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    assert keras_backend() == "torch"


@pytest.mark.parametrize(
    ("per_gpu", "memory", "children"),
    [
        (16, 80 * GIB, 4),
        (64, 80 * GIB, 8),
        (8, 24 * GIB, 2),
        (16, 11 * GIB, 2),
        (1, 80 * GIB, 1),
        (16, 3 * GIB, 1),
        (16, 0, 1),
    ],
)
def test_children_of_a_gpu(per_gpu: int, memory: int, children: int) -> None:
    assert children_per_gpu(per_gpu, memory) == children


@pytest.mark.parametrize(
    ("said", "memory"),
    [("81559\n24564\n", 24564 * 2**20), ("[N/A]\n", 0), ("", 0), ("80 GiB\n", 0)],
)
def test_the_memory_of_the_smallest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, memory: int
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # and no tool of this machine
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\nprintf %b {json.dumps(said)}\n")
    assert gpu_memory() == 0, "the tool cannot be run"
    tool.chmod(0o755)
    assert gpu_memory() == memory
