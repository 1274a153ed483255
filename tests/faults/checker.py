"""The checker of the promise: what the tables and Redis must say once everything is quiet.

I1 every submitted position has its row; I2 none has two; I3 labels (or error codes) are right; I4 a
chunk is done exactly if its rows are complete; I5 jobs are closed and their status is right; I6 no
message waits in Redis.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from broker.app import list_key
from core.types import Priority
from worker.stub import expected

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.support.yard import Yard

LABELS = [str(digit) for digit in range(10)]
#: What a `stub://<fault>/...` URI must end as when it does not end as a label.
CODES = {
    "crash": "worker_crash", "segv": "worker_crash", "hang": "worker_crash",
    "oom": "internal", "raise": "internal",
}  # fmt: skip


@dataclass(frozen=True)
class Verdict:
    """What the checker found. `extra` are claims beyond one per chunk."""

    submitted: int
    lost: int
    duplicates: int
    chunks: int
    extra: int
    problems: Sequence[str] = field(default=())

    @property
    def ok(self) -> bool:
        return not self.lost and not self.duplicates and not self.problems


def check(yard: Yard, submitted: Mapping[int, Sequence[str]]) -> Verdict:
    """Check all jobs of a quiet yard against what was submitted."""
    lost = duplicates = 0
    problems: list[str] = []
    for job, uris in submitted.items():
        rows = yard.sql(
            "SELECT position, uri, status, class_index, error_code FROM results"
            " WHERE job_id = :job ORDER BY position",
            job=job,
        )
        seen = Counter(row.position for row in rows)
        lost += sum(position not in seen for position in range(len(uris)))
        duplicates += sum(count - 1 for count in seen.values())
        problems += [f"job {job}: unknown position {p}" for p in seen if p not in range(len(uris))]
        for row in rows:
            if row.position < len(uris):
                problems += _wrong(job, row, uris[row.position])
        problems += _job(yard, job, len(uris), sum(row.status == "failed" for row in rows))
    problems += _chunks(yard)
    problems += _redis(yard)
    claims, chunks = yard.sql("SELECT coalesce(sum(attempts), 0), count(*) FROM chunks")[0]
    total = sum(map(len, submitted.values()))
    return Verdict(total, lost, duplicates, chunks, max(0, claims - chunks), problems)


def _wrong(job: int, row: object, uri: str) -> list[str]:
    where = f"job {job} position {row.position}"  # type: ignore[attr-defined]
    if row.uri != uri:  # type: ignore[attr-defined]
        return [f"{where}: another URI"]
    kind = uri.removeprefix("stub://").partition("/")[0] if uri.startswith("stub://") else ""
    code = CODES.get(kind)
    got = row.error_code if code else row.class_index  # type: ignore[attr-defined]
    wanted = code or expected(uri, LABELS)
    return [] if got == wanted else [f"{where}: {got} instead of {wanted} for {uri}"]


def _job(yard: Yard, job: int, size: int, failed: int) -> list[str]:
    status, total = yard.sql("SELECT status, total FROM jobs WHERE id = :job", job=job)[0]
    wanted = "completed_with_errors" if failed else "completed"
    problems = [] if status == wanted else [f"job {job} is {status}, not {wanted}"]
    return problems if total == size else [*problems, f"job {job} has {total} of {size} images"]


def _chunks(yard: Yard) -> list[str]:
    rows = yard.sql(
        "SELECT c.id, c.status, c.size, c.ok, c.failed, count(r.position) AS found FROM chunks c"
        " LEFT JOIN results r ON r.chunk_id = c.id AND r.job_id = c.job_id"
        " GROUP BY c.id, c.status, c.size, c.ok, c.failed"
    )
    return [
        f"chunk {row.id} is {row.status} with {row.found} rows of {row.size}"
        for row in rows
        if not (row.status == "done" and row.found == row.size == row.ok + row.failed)
    ]


def _redis(yard: Yard) -> list[str]:
    left = waiting(yard)
    return [f"{left} messages still wait in Redis"] if left else []


def waiting(yard: Yard) -> int:
    """Return how many messages wait.

    Those that a killed worker had not acknowledged stay until the visibility time-out and are
    then dropped: their chunks are finished, as I4 says.
    """
    with yard.desk.app.connection_for_write() as connection:
        client = connection.default_channel.client
        lists = [list_key(yard.settings.queue, int(priority)) for priority in Priority]
        return sum(client.llen(name) for name in lists)
