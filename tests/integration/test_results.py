"""Reading results: filters, doubt, extra columns, pairs of jobs, the truth, and their end."""

from __future__ import annotations

import csv
import json
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
from sqlalchemy import text

from core.errors import ClassyardError, JobStatusError, UsageError
from core.types import ChunkStatus, JobStatus, ResultStatus
from db.prune import prune_slice
from db.results import ResultFilter, failures_by_code, stream_results
from db.retry import retry_slice
from producer.answers import answer, uncertain
from producer.diff import diff
from producer.export import Format, read_layout, write_rows
from producer.prune import find_old, moment_of, prune
from producer.score import score
from tests.support.answers import AT, Image, add_job

if TYPE_CHECKING:
    from db.session import Database

MODELS = Path("no models of the user's")
IMAGES = [
    Image("file:///0.jpg", {"1": 0.75, "2": 0.125}, extra={"camera": "nord é", "n": 1, "ok": True}),
    Image("file:///1.jpg", {"1": 0.5, "2": 0.375}, extra={"camera": "süd", "n": 1.5, "ok": False}),
    Image("file:///2.jpg", {"2": 0.5, "3": 0.375, "4": 0.125}, extra={"camera": None, "n": "1"}),
    Image("file:///3.jpg", {"3": 0.25}),
    Image("file:///4.jpg", code="http_4xx", extra={"camera": "süd", 'a "b\\c é': "x"}),
]


FILTERED: list[tuple[ResultFilter, list[int]]] = [
    (ResultFilter(), [0, 1, 2, 3, 4]),
    (ResultFilter(label="1"), [0, 1]),
    (ResultFilter(class_index=2), [2]),
    (ResultFilter(min_score=0.5, max_score=0.6), [1, 2]),
    (ResultFilter(min_margin=0.125), [0, 1, 2]),
    (ResultFilter(max_margin=0.2), [1, 2]),
    (ResultFilter(status=ResultStatus.FAILED), [4]),
    (ResultFilter(code="http_4xx"), [4]),
    (ResultFilter(code="timeout_read"), []),
    (ResultFilter(where=(("camera", "süd"),)), [1, 4]),
    (ResultFilter(where=(("camera", "süd"),), status=ResultStatus.OK), [1]),
    (ResultFilter(where=(("n", "1"),)), [0, 2]),
    (ResultFilter(where=(("n", "1.5"), ("ok", "false"))), [1]),
    (ResultFilter(where=(("ok", "true"),)), [0]),
    (ResultFilter(where=(('a "b\\c é', "x"),)), [4]),
    (ResultFilter(where=(("camera", "' OR 1=1 --"),)), []),
    (ResultFilter(limit=2), [0, 1]),
    (ResultFilter(label="1", limit=1), [0]),
]


def test_filters(database: Database) -> None:
    job = add_job(database, IMAGES)
    add_job(database, IMAGES)
    for chosen, positions in FILTERED:
        rows = list(stream_results(database, job, chosen))
        assert [row.position for row in rows] == positions, chosen
        assert all(row.job_id == job for row in rows)


def test_many_pages_come_in_order_and_none_twice(database: Database) -> None:
    job = add_job(database, [Image(f"file:///{n}", {"1": 0.5}) for n in range(95)], top_k=5000)
    assert [row.position for row in stream_results(database, job)] == list(range(95))
    third = ResultFilter(limit=33)
    assert [row.position for row in stream_results(database, job, third)] == list(range(33))


def test_the_least_sure_come_first(database: Database) -> None:
    scores: list[dict[str, float]] = [
        {"1": 0.875, "2": 0.0625},
        {"1": 0.5, "2": 0.25, "3": 0.25},  # the same margin as the next, but more doubt
        {"1": 0.625, "2": 0.375},
        {"1": 0.5, "2": 0.4375},
        {"1": 1.0},
    ]
    job = add_job(database, [Image(f"file:///{n}", given) for n, given in enumerate(scores)])
    rows = uncertain(database, job, ResultFilter(), 10)
    assert [row.position for row in rows] == [3, 1, 2, 0]
    assert [row.position for row in uncertain(database, job, ResultFilter(), 2)] == [3, 1]
    said = answer(rows[1])
    assert said.margin == 0.25
    assert said.entropy == pytest.approx(1.5)
    certain = next(row for row in stream_results(database, job) if row.position == 4)
    assert answer(certain).margin is None
    assert answer(certain).entropy == 0


def test_counts(database: Database) -> None:
    job = add_job(database, [*IMAGES, Image("x", code="empty"), Image("y", code="empty")])
    assert database.read(failures_by_code, job) == [("empty", 2), ("http_4xx", 1)]


def exported(database: Database, job: int, path: Path) -> None:
    rows = stream_results(database, job)
    write_rows(rows, read_layout(database, job), Format(path.suffix[1:]), path)


def test_every_format_says_the_same(database: Database, tmp_path: Path) -> None:
    images = [
        *IMAGES,
        Image("file:///=1+1.jpg", {"1": 0.5}, extra={"camera": "=cmd()", "n": "-1.5", "uri": "@x"}),
    ]
    job = add_job(database, images)
    for kind in Format:
        exported(database, job, tmp_path / f"x.{kind}")
    with (tmp_path / "x.csv").open(encoding="utf-8", newline="") as file:
        flat = list(csv.DictReader(file))
    lines = [json.loads(line) for line in (tmp_path / "x.jsonl").read_text("utf-8").splitlines()]
    table = pq.read_table(tmp_path / "x.parquet").to_pylist()
    assert [row["uri"] for row in flat] == [row["uri"] for row in lines]
    assert [row["uri"] for row in flat] == [row["uri"] for row in table] == [i.uri for i in images]
    assert [line["extra"] for line in lines] == [image.extra for image in images]
    assert flat[2]["label_2"] == "3"
    assert (flat[2]["score_3"], flat[3]["label_2"], flat[3]["score_2"]) == ("0.125", "", "")
    assert lines[2]["predictions"][1] == {
        "rank": 2, "class_index": 3, "label": "3", "score": 0.375
    }  # fmt: skip
    assert table[2]["predictions"][1] == {"class_index": 3, "label": "3", "score": 0.375}
    assert table[4]["predictions"] is None
    assert table[0]["classified_at"] == AT
    assert (flat[0]["ok"], flat[0]["n"], flat[2]["n"]) == ("true", "1", "1")
    assert table[0]["ok"] == "true"
    # A spreadsheet runs nothing, numbers stay numbers, no column is lost to one of ours.
    assert (flat[5]["camera"], flat[5]["n"]) == ("'=cmd()", "-1.5")
    assert (flat[5]["extra.uri"], table[5]["extra.uri"]) == ("'@x", "@x")


def test_columns_of_later_rows_are_kept_as_json(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("db.results.EXTRA_SAMPLE", 1)
    job = add_job(database, [
        Image("a", {"1": 1.0}, extra={"first": "x"}),
        Image("b", {"1": 1.0}, extra={"first": "y", "late": [1, {"é": 2}]}),
    ])  # fmt: skip
    for end in ("csv", "parquet"):
        exported(database, job, tmp_path / f"x.{end}")
    with (tmp_path / "x.csv").open(encoding="utf-8", newline="") as file:
        rows: list[Any] = list(csv.DictReader(file))
    table = pq.read_table(tmp_path / "x.parquet").to_pylist()
    assert [row["first"] for row in rows] == [row["first"] for row in table] == ["x", "y"]
    for row in (rows[1], table[1]):
        assert json.loads(row["extra"]) == {"late": [1, {"é": 2}]}
    assert (rows[0]["extra"], table[0]["extra"]) == ("", None)


def test_an_empty_job_gives_files_with_columns(database: Database, tmp_path: Path) -> None:
    job = add_job(database, [])
    for kind in Format:
        exported(database, job, tmp_path / f"x.{kind}")
    assert (tmp_path / "x.csv").read_text().startswith("position,uri,status,")
    assert "predictions" in pq.read_table(tmp_path / "x.parquet").column_names


def test_diff_pairs_duplicates_and_misses_nothing(database: Database) -> None:
    a = add_job(database, [
        Image("dup", {"1": 0.5}), Image("same", {"1": 0.75}), Image("dup", {"2": 0.5}),
        Image("dup", {"3": 0.5}), Image("only a", {"1": 0.5}), Image("changed", {"1": 0.5}),
        Image("sure", {"1": 0.875}), Image("broke", {"1": 0.5}), Image("never", code="empty"),
    ])  # fmt: skip
    b = add_job(database, [
        Image("never", code="empty"), Image("sure", {"2": 0.75}), Image("broke", code="empty"),
        Image("only b", {"1": 0.5}), Image("dup", {"1": 0.25}), Image("dup", {"2": 0.5}),
        Image("same", {"1": 0.5}), Image("changed", {"2": 0.625}),
    ])  # fmt: skip
    found = diff(database, a, b, limit=1)
    assert (found.compared, found.same_label, found.agreement) == (5, 3, 0.6)
    assert (found.only_a, found.only_b) == (2, 1)  # the third `dup` has no partner
    assert (found.failed_a, found.failed_b, found.failed_both) == (0, 1, 1)
    assert [(c.a, c.b, c.count) for c in found.label_changes] == [("1", "2", 2)]
    assert [(c.uri, c.score_a, c.score_b) for c in found.changes] == [("sure", 0.875, 0.75)]
    assert found.mean_shift == pytest.approx((-0.25 - 0.25 + 0) / 3)
    assert (found.largest_shift, found.shifted) == (-0.25, 2)
    back = diff(database, b, a)
    assert (back.only_a, back.failed_a, back.mean_shift) == (1, 1, -found.mean_shift)
    with pytest.raises(UsageError, match="two jobs"):
        diff(database, a, a)


def truths(column: str, values: list[Any], model: str = "digits") -> list[Image]:
    labels = {"digits": ["1", "2"], "mobilenet_v2": ["tench", "goldfish"]}[model]
    return [
        Image(f"{n}", {labels[0]: 0.75, labels[1]: 0.125}, extra={column: value})
        for n, value in enumerate(values)
    ]


def test_score_counts_everything_once(database: Database) -> None:
    images = [
        Image("a", {"1": 0.9, "2": 0.1}, extra={"t": "1"}),
        Image("b", {"1": 0.7, "2": 0.2}, extra={"t": "2"}),
        Image("c", {"2": 0.9, "3": 0.1}, extra={"t": " 2 "}),
        Image("d", {"2": 0.9, "3": 0.1}, extra={"t": 7}),
        Image("e", code="empty", extra={"t": "1"}),
        Image("f", {"1": 0.9}, extra={"t": ""}),
        Image("g", {"1": 0.9}),
    ]
    job = add_job(database, images, options={"truth_column": "t"}, top_k=2)
    found = score(database, MODELS, job)
    assert (found.scored, found.failed, found.without_truth) == (4, 1, 2)
    assert (found.top_1, found.top_k_accuracy, found.top_k) == (0.5, 0.75, 2)
    classes = {c.label: (c.support, c.predicted, c.hits) for c in found.classes}
    assert classes == {"1": (1, 2, 1), "2": (2, 2, 1), "7": (1, 0, 0)}
    assert [(c.precision, c.recall) for c in found.classes] == [(0.5, 1), (0.5, 0.5), (None, 0)]
    assert {(c.truth, c.predicted, c.count) for c in found.confusions} == {
        ("2", "1", 1), ("7", "2", 1)
    }  # fmt: skip
    # Three rows at 0.9 of which two are right, one at 0.7 that is wrong.
    expected = (3 * abs(2 / 3 - 0.9) + abs(0 - 0.7)) / 4
    assert found.expected_calibration_error == pytest.approx(expected)
    assert sum(b.count for b in found.bins) == 4
    assert len(found.bins) == 15
    assert math.isclose(found.bins[13].score or 0, 0.9)


def test_the_truth_may_be_label_wnid_or_index(database: Database) -> None:
    labels = ["tench", "goldfish"]
    cases: list[tuple[list[Any], str, float]] = [
        (["tench", "goldfish", "tench"], "label", 2 / 3),
        (["n01440764", "n01443537"], "wnid", 0.5),
        ([0, "1", 0, "0"], "index", 0.75),
    ]
    for values, kind, top_1 in cases:
        images = truths("t", values, "mobilenet_v2")
        job = add_job(database, images, labels=labels, model="mobilenet_v2")
        found = score(database, MODELS, job, "t")
        assert (found.truth_kind, found.top_1) == (kind, top_1)


def test_two_classes_with_one_label_are_one_truth(database: Database) -> None:
    labels = [f"class {n}" for n in range(1000)]
    labels[134] = "crane"
    labels[517] = "the other crane"
    images = [Image("a", {"the other crane": 0.75, "crane": 0.25}, extra={"t": "crane"})]
    job = add_job(database, images, labels=labels, model="mobilenet_v2")
    rename = text("UPDATE results SET label = 'crane' WHERE job_id = :job")
    database.write(lambda c: c.execute(rename, {"job": job}))
    assert score(database, MODELS, job, "t").top_1 == 1


def test_a_truth_that_is_none_is_named(database: Database) -> None:
    job = add_job(database, truths("t", ["1", "seven", "eight"]))
    with pytest.raises(ClassyardError, match=r"2 of its 3 values .*: 'eight', 'seven'$"):
        score(database, MODELS, job, "t")
    with pytest.raises(UsageError, match=r"no column|has a column 'x'; its columns: t"):
        score(database, MODELS, job, "x")
    with pytest.raises(UsageError, match="--truth-column"):
        score(database, MODELS, job)
    many = add_job(database, truths("t", [f"photo {n}" for n in range(3000)]))
    with pytest.raises(ClassyardError, match="no label, wnid or class index"):
        score(database, MODELS, many, "t")


def count(database: Database, table: str, job: int) -> int:
    key = "id" if table == "jobs" else "job_id"
    found = text(f"SELECT count(*) FROM {table} WHERE {key} = :job")
    return int(database.read(lambda c: c.execute(found, {"job": job}).scalar_one()))


def test_prune_deletes_old_ended_jobs_and_nothing_else(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("db.prune.SLICE", 2)
    later = AT + timedelta(days=1)
    old = add_job(database, IMAGES)
    kept = [
        add_job(database, IMAGES, finished_at=later),
        add_job(database, IMAGES, status=JobStatus.RUNNING, finished_at=None),
        add_job(database, IMAGES, status=JobStatus.PAUSED),
        add_job(database, IMAGES, status=JobStatus.CANCELLED),
    ]
    # A worker still holds a chunk of the cancelled one: its rows may be on their way.
    held = text("UPDATE chunks SET status = :status WHERE job_id = :job")
    database.write(lambda c: c.execute(held, {"status": ChunkStatus.RUNNING, "job": kept[-1]}))
    assert [(job.job_id, job.results, job.chunks) for job in find_old(database, later)] == [
        (old, 5, 1)
    ]
    # Interrupted after the first slice, it goes on.
    assert not database.write(prune_slice, old, later)
    assert count(database, "results", old) == 3
    assert [job.job_id for job in prune(database, later)] == [old]
    assert [count(database, table, old) for table in ("jobs", "chunks", "results")] == [0, 0, 0]
    for job in kept:
        assert [count(database, table, job) for table in ("jobs", "chunks", "results")] == [1, 1, 5]
    assert prune(database, later) == []


def test_a_job_that_is_being_pruned_is_not_opened_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would close as completed, though rows are gone."""
    monkeypatch.setattr("db.prune.SLICE", 2)
    later = AT + timedelta(days=1)
    job = add_job(database, IMAGES, status=JobStatus.COMPLETED_WITH_ERRORS)
    assert not database.write(prune_slice, job, later)
    with pytest.raises(JobStatusError, match="being pruned"):
        database.write(retry_slice, job, None, -1, 10)
    assert [found.job_id for found in prune(database, later)] == [job]


def test_prune_lets_a_job_alone_that_was_opened_again(database: Database) -> None:
    job = add_job(database, IMAGES)
    reopened = text("UPDATE jobs SET status = 'queued', finished_at = NULL WHERE id = :job")
    database.write(lambda c: c.execute(reopened, {"job": job}))
    assert database.write(prune_slice, job, AT + timedelta(days=1))
    assert count(database, "results", job) == 5


def test_dates_and_ages(database: Database) -> None:
    assert moment_of(database, "2024-05-31") == datetime(2024, 5, 31, tzinfo=UTC)
    assert moment_of(database, "2024-05-31T10:00+02:00") == datetime(2024, 5, 31, 8, tzinfo=UTC)
    age = datetime.now(UTC) - moment_of(database, "2w")
    assert abs(age - timedelta(weeks=2)) < timedelta(minutes=5)
    for wrong in ("yesterday", "10", "-3d", "3y"):
        with pytest.raises(UsageError, match="neither a date"):
            moment_of(database, wrong)
