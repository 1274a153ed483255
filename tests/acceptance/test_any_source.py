"""One job over everything that can be named: folders, archives, tables, a store, a picture in its URI."""

from __future__ import annotations

import base64
import json
import time
from contextlib import ExitStack
from pathlib import Path

import pyarrow as arrow
from pyarrow import parquet

from core.settings import read_settings
from producer.cli.local import SAMPLES
from tests.acceptance.conftest import furnish
from tests.integration.test_fetch_http import Site, Visit, site
from tests.support.s3 import CREDENTIALS, s3_server
from tests.support.yard import Yard
from tests.unit.test_fetch_archives import tarred, zipped

__all__ = ["site"]


def test_any_source_is_served_by_configuration_alone(
    home: Path, broker_url: str, converted: Path, tmp_path: Path
) -> None:
    furnish(home, converted)
    digits = {path.name: path.read_bytes() for path in sorted(SAMPLES.glob("*.png"))[:12]}
    names = list(digits)
    zipped(tmp_path / "a.zip", {name: digits[name] for name in names[:3]})
    words = {f"{name[:-4]}.cls": name[6].encode() for name in names[3:5]}
    shard = {name: digits[name] for name in names[3:5]} | words
    tarred(tmp_path / "b.tar", dict(sorted(shard.items())))
    uris = [(SAMPLES / name).as_uri() for name in names[5:7]]
    table = arrow.table({"uri": uris, "cls": [name[6] for name in names[5:7]]})
    parquet.write_table(table, tmp_path / "c.parquet")
    inline = f"data:image/png;base64,{base64.b64encode(digits[names[7]]).decode()}"
    with ExitStack() as stack:
        s3 = stack.enter_context(s3_server())
        s3.fill("digits", {f"in/{name}": digits[name] for name in names[8:]})
        settings = read_settings(
            home=home, broker_url=broker_url, concurrency=1, s3_endpoint=s3.endpoint,
            schemes="file,zip,tar,data,s3", buckets="s3://digits/in/",
        )  # fmt: skip
        yard = stack.enter_context(Yard(settings))
        yard.worker(**CREDENTIALS)
        sources = [str(tmp_path / name) for name in ("a.zip", "b.tar", "c.parquet")]
        done = yard.command(
            "submit", *sources, inline, "s3://digits/in/", "s3://digits/in/none.png", "--model",
            "digits", "--root", str(SAMPLES), "--wait", "--json", **CREDENTIALS,
        )  # fmt: skip
        assert done.code == 3, done.err
        job = json.loads(done.out)["job_id"]
        rows = yard.sql("SELECT * FROM results WHERE job_id = :job ORDER BY position", job=job)
        extras = [row.extra and json.loads(row.extra) for row in rows]
        worker_log = yard.processes[0].log.read_text()
    assert [row.error_code for row in rows] == [None] * 12 + ["file_not_found"]
    # The model is wrong about two of the sixty samples.
    assert sum(row.label == name[6] for row, name in zip(rows, names, strict=False)) >= 11
    assert [extra and extra["cls"] for extra in extras[3:7]] == [name[6] for name in names[3:7]]
    assert inline[30:] not in worker_log + done.err + done.out


def test_all_children_of_a_worker_share_a_hosts_pace(
    home: Path, broker_url: str, converted: Path, site: Site
) -> None:
    furnish(home, converted)
    digit = next(iter(SAMPLES.glob("*.png"))).read_bytes()
    moments: list[float] = []

    def picture(visit: Visit) -> None:
        moments.append(time.monotonic())
        visit.answer(digit)

    start = site.on("/digit.png", picture)
    settings = read_settings(
        home=home, broker_url=broker_url, concurrency=3, ports=str(site.port),
        allow_nets="127.0.0.0/8", rate_per_host=8,
    )  # fmt: skip
    with Yard(settings) as yard:
        yard.worker()
        uris = [f"{start}?{number}" for number in range(36)]
        job = yard.submit(uris, "--chunk-size", "6")
        assert yard.finish(job) == "completed"
        children = yard.sql("SELECT count(DISTINCT child) FROM chunks WHERE job_id = 1")
    moments.sort()
    assert len(moments) == 36
    assert moments[-1] - moments[0] > 35 / 8 - 0.5
    assert children[0][0] == 3, "one child did it all: nothing is shown"
