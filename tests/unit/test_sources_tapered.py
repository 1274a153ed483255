from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from producer.sources.block import Block, tapered


def blocks(*sizes: int) -> list[Block]:
    uris = iter(range(sum(sizes)))
    return [Block([str(next(uris)) for _ in range(size)]) for size in sizes]


def sizes_of(cut: list[Block]) -> list[int]:
    return [len(block.uris) for block in cut]


def test_only_the_last_blocks_are_cut() -> None:
    assert sizes_of(list(tapered(blocks(80, 80, 80, 50), 2, 4, 16))) == [
        80,
        80,
        *[20] * 4,
        16,
        16,
        16,
        2,
    ]


def test_a_job_of_fewer_blocks_than_workers_is_cut_everywhere() -> None:
    assert sizes_of(list(tapered(blocks(64), 8, 4, 16))) == [16, 16, 16, 16]


@given(
    st.lists(st.integers(1, 100), max_size=12),
    st.integers(1, 5),
    st.integers(1, 4),
    st.integers(1, 40),
)
def test_nothing_is_lost_or_moved(sizes: list[int], last: int, parts: int, smallest: int) -> None:
    cut = list(tapered(blocks(*sizes), last, parts, smallest))
    assert [uri for block in cut for uri in block.uris] == [str(n) for n in range(sum(sizes))]
