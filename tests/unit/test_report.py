"""The parts of a report that need no database: names, samples, the timeline, the matrix."""

from __future__ import annotations

import base64
import gzip
import itertools
import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from producer.report.confusion import matrix
from producer.report.island import Island
from producer.report.shown import host, link, shown
from producer.report.tally import SAMPLE, Tally
from producer.report.timeline import fetch_seconds, timeline, workers
from producer.score import ClassScore, Confusion, Score

AT = datetime(2024, 5, 6, tzinfo=UTC)


def row(position: int, uri: str = "file:///a.jpg", label: str = "1", score: float = 0.5) -> Any:
    return SimpleNamespace(
        position=position, uri=uri, status="ok", label=label, score=score, chunk_id=position % 3,
        predictions=[[1, label, score], [2, "2", 0.25]], error_code=None, error=None,
    )  # fmt: skip


def unpacked(island: Island) -> list[Any]:
    lines = gzip.decompress(base64.b64decode("".join(island.pieces()))).decode().splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize(
    ("uri", "text", "target", "where"),
    [
        ("file:///a%20b/%C3%A9.jpg", "/a b/é.jpg", "file:///a%20b/%C3%A9.jpg", ""),
        ("https://h.org/a.jpg", "https://h.org/a.jpg", "https://h.org/a.jpg", "h.org"),
        ("https://h.org/a.jpg?sig=secret", "https://h.org/a.jpg?…", "", "h.org"),
        ("https://me:secret@h.org/a.jpg", "https://…@h.org/a.jpg", "", "h.org"),
        ("zip:///a%20b/p.zip!/1.jpg", "/a b/p.zip!/1.jpg", "", ""),
        ("data:image/png;base64,AAAA", "data:…", "", ""),
        ("https://h.org/a b.jpg?sig=secret", "https://h.org/a b.jpg?…", "", "h.org"),
        ("javascript:alert(1)", "javascript:alert(1)", "", ""),
        ("file:///%E2%80%AEgpj.exe%00", "/ gpj.exe", "file:///%E2%80%AEgpj.exe%00", ""),
        ("file:///%FF.jpg", "/\ufffd.jpg", "file:///%FF.jpg", ""),
        ("http://[broken/a", "http://[broken/a", "http://[broken/a", ""),
        ("http://h.org/\u2028.jpg", "http://h.org/ .jpg", "", "h.org"),
    ],
)
def test_an_image_is_shown_without_secrets_and_without_tricks(
    uri: str, text: str, target: str, where: str
) -> None:
    assert (shown(uri), link(uri), host(uri)) == (text, target, where)


def test_all_rows_or_an_even_sample_travel_in_the_page() -> None:
    with Island(total=100, most=100) as island:
        for position in range(100):
            island.add(row(position), None)
        assert [record[0] for record in unpacked(island)] == list(range(100))
    with Island(total=1000, most=100) as island:
        for position in range(1000):
            island.add(row(position, label="</script>\u2028"), "truth")
        text = "".join(island.pieces())
        kept = unpacked(island)
        assert island.rows == len(kept) == 100
        steps = {b[0] - a[0] for a, b in itertools.pairwise(kept)}
        assert steps == {10}
        assert list(island.labels) == ["</script>\u2028", "2", "truth"]
        assert kept[0] == [0, "/a.jpg", "file:///a.jpg", [0, 5000, 1, 2500], 2]
        assert set(text) <= set("+/=").union(map(chr, range(48, 123)))


def test_more_rows_than_expected_do_not_break_the_sample() -> None:
    """A running job grows while it is read."""
    with Island(total=10, most=5) as island:
        for position in range(30):
            island.add(row(position), None)
        assert 5 <= island.rows <= 15


def test_the_sample_of_a_label_is_even_and_bounded() -> None:
    tally = Tally({})
    for position in range(5000):
        tally.add(row(position))
    sample = tally.labels["1"].sample
    assert len(set(sample)) == SAMPLE
    assert 1000 < sum(sample) / SAMPLE < 4000
    assert tally.labels["1"].count == 5000
    assert tally.labels["1"].mean_score == 0.5
    assert tally.scores[10] == 5000


def test_hosts_carry_their_share_of_the_fetching() -> None:
    tally = Tally({0: 2.0, 1: 0.5})
    for position in range(6):
        tally.add(row(position, f"https://{'slow' if position % 3 == 0 else 'fast'}.org/a.jpg"))
    assert tally.hosts["slow.org"].seconds_per_image == 2.0
    assert tally.hosts["fast.org"].seconds_per_image == 0.25
    assert tally.files == 0


def chunk(start: float, end: float, images: int, *, retry: bool = False) -> Any:
    return SimpleNamespace(
        id=int(start), worker="box/1:2", started_at=AT + timedelta(seconds=start),
        finished_at=AT + timedelta(seconds=end), images=images, retry=retry, fetch_seconds=2.0,
        decode_seconds=1.0, predict_seconds=1.0, record_seconds=None,
    )  # fmt: skip


def test_the_timeline_loses_no_image_and_leaves_retries_out() -> None:
    chunks = [chunk(at, at + 7, 100) for at in range(10)]
    chunks += [chunk(3, 3, 5), chunk(90_000, 90_001, 9, retry=True)]
    slices = timeline(chunks)
    assert sum(one.images for one in slices) == pytest.approx(1005)
    assert slices[-1].start + slices[-1].seconds == pytest.approx(16)
    assert slices[0].shares["fetch"] == pytest.approx(0.5)
    assert max(slices, key=lambda one: one.rate).start < 12
    assert timeline(chunks[:3]) == []
    assert fetch_seconds(chunks)[4] == 0.02
    assert [(name, tally.images) for name, tally in workers(chunks)] == [("box", 1014)]


def test_the_matrix_keeps_every_image_of_its_rows() -> None:
    labels = [f"class {n}" for n in range(40)]
    score = Score(
        1, "m", "truth", "label", 400, 0, 0, 3, 0.9, 1.0, 0.1,
        [ClassScore(n, label, 10, 10, 9) for n, label in enumerate(labels)],
        [Confusion(labels[n], labels[(n + 1) % 40], 1) for n in range(40)], [],
    )  # fmt: skip
    found = matrix(score)
    assert len(found.labels) == 15
    assert not found.whole
    for counts, rest in zip(found.counts, found.rest, strict=True):
        assert sum(counts) + rest == 10
