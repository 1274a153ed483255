"""The question that KEDA asks SQL, asked of a real PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import yaml

from tests.support.yard import ROOT

if TYPE_CHECKING:
    from tests.support.yard import Yard


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_the_depth_is_the_open_chunks_of_the_queue(yard: Yard) -> None:
    manifests = yaml.safe_load_all((ROOT / "deploy" / "kubernetes" / "scale.yaml").read_text())
    (scaled,) = [m for m in manifests if m["kind"] == "ScaledObject"]
    query = scaled["spec"]["triggers"][0]["metadata"]["query"]
    assert yard.sql(query)[0][0] == 0
    uris = [f"https://pictures.example.org/{n}.jpg" for n in range(50)]
    yard.submit(uris, "--chunk-size", "5")
    assert yard.sql(query)[0][0] == 10, "also those that the window keeps back"
    assert yard.command("pause", "1").code == 0
    assert yard.sql(query)[0][0] == 0, "nobody is wanted for a job that is paused"
