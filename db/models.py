"""The tables. Documented for SQL users in docs/querying.md; created by the migrations."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Text,
    TypeDecorator,
    and_,
    false,
    literal_column,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from core.types import ChunkStatus, JobStatus, ResultStatus

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import InstrumentedAttribute

T = TypeVar("T")

#: Chunks that still have work in them.
OPEN = (ChunkStatus.PENDING, ChunkStatus.QUEUED, ChunkStatus.RUNNING)
#: Jobs whose chunks may be sent and claimed.
ACTIVE = (JobStatus.QUEUED, JobStatus.RUNNING)


class UTCDateTime(TypeDecorator[datetime]):
    """A moment in UTC. SQLite stores no zone, so it is put back on reading."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the moment with its zone."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """Names constraints the same on every database, so that migrations can address them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    # JSON, not JSONB: callers' columns may hold \u0000, which JSONB refuses, and a row refused is a row lost.
    type_annotation_map = {dict[str, Any]: JSON, list[Any]: JSON, datetime: UTCDateTime}  # noqa: RUF012


def unindexed(column: InstrumentedAttribute[T]) -> ColumnElement[T]:
    """Return a column's value in a form that no index holds.

    For conditions beside that on a key: a planner with old statistics, or none, may find the index of
    such a condition as good as the key's, and read through a whole job to find one row.
    """
    if isinstance(column.type, Integer):
        return column + literal_column("0")
    return column.concat(literal_column("''"))


class Job(Base):
    """One submission."""

    __tablename__ = "jobs"
    __table_args__ = (
        CheckConstraint(f"status IN ({', '.join(map(repr, map(str, JobStatus)))})", name="status"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    key: Mapped[str | None] = mapped_column(String(200), unique=True)
    model: Mapped[str] = mapped_column(String(200))
    model_fingerprint: Mapped[str] = mapped_column(String(64))
    queue: Mapped[str] = mapped_column(String(100))
    priority: Mapped[int]
    top_k: Mapped[int]
    options: Mapped[dict[str, Any]]
    status: Mapped[str] = mapped_column(String(24))
    error: Mapped[str | None] = mapped_column(Text)
    #: Images and chunks submitted; both 0 until the submission is whole.
    total: Mapped[int]
    chunks: Mapped[int]
    created_at: Mapped[datetime]
    touched_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    #: Images left out at submission because they had an ok row already (`--skip-done`).
    skipped: Mapped[int] = mapped_column(default=0, server_default="0")


class Chunk(Base):
    """The items sent in one message: the unit of lease and retry."""

    __tablename__ = "chunks"
    __table_args__ = (
        CheckConstraint(
            f"status IN ({', '.join(map(repr, map(str, ChunkStatus)))})", name="status"
        ),
        Index("ix_chunks_job_id_status_seq", "job_id", "status", "seq"),
        Index(
            "ix_chunks_held",
            "status",
            "worker",
            sqlite_where=text("status IN ('queued', 'running')"),
            postgresql_where=text("status IN ('queued', 'running')"),
        ),
        Index(
            "ix_chunks_tried",
            "id",
            sqlite_where=text("status = 'pending' AND attempts >= 3"),
            postgresql_where=text("status = 'pending' AND attempts >= 3"),
        ),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id"))
    seq: Mapped[int]
    size: Mapped[int]
    #: Position of the first item; the others follow it, unless `positions` lists them.
    first_position: Mapped[int]
    positions: Mapped[list[Any] | None] = mapped_column(JSON(none_as_null=True))
    #: The URIs in order; NULL once the results carry them.
    uris: Mapped[list[Any] | None] = mapped_column(JSON(none_as_null=True))
    #: The caller's further columns, one object or null per item; NULL if there are none.
    extra: Mapped[list[Any] | None] = mapped_column(JSON(none_as_null=True))
    digest: Mapped[str] = mapped_column(String(32))
    status: Mapped[str] = mapped_column(String(16))
    attempts: Mapped[int] = mapped_column(default=0)
    worker: Mapped[str | None] = mapped_column(String(200))
    child: Mapped[int | None]
    lease_until: Mapped[datetime | None]
    error_code: Mapped[str | None] = mapped_column(String(32))
    error: Mapped[str | None] = mapped_column(Text)
    ok: Mapped[int] = mapped_column(default=0)
    failed: Mapped[int] = mapped_column(default=0)
    queued_at: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    fetch_seconds: Mapped[float | None]
    decode_seconds: Mapped[float | None]
    predict_seconds: Mapped[float | None]
    record_seconds: Mapped[float | None]
    #: Whether it runs failed images again: their failed rows stay until it replaces them.
    retry: Mapped[bool] = mapped_column(default=False, server_default=false())
    #: Images answered from a row that was there, without inference.
    reused: Mapped[int] = mapped_column(default=0, server_default="0")


# Written out, not bound: SQLite uses a partial index only where it can see that all rows are in it, and
# would else read every chunk, URIs and all, in each sweep.
#: Chunks in Redis or in workers' hands.
HELD = Chunk.status.in_((literal_column("'queued'"), literal_column("'running'")))
#: Chunks that wait after three attempts or more.
TRIED = and_(Chunk.status == literal_column("'pending'"), Chunk.attempts >= literal_column("3"))


class Result(Base):
    """How one image ended: labels, or a typed error."""

    __tablename__ = "results"
    __table_args__ = (
        CheckConstraint(
            f"status IN ({', '.join(map(repr, map(str, ResultStatus)))})", name="status"
        ),
        # With the position: pages that are read by key (`db.browse`) need no sorting.
        Index("ix_results_job_id_label", "job_id", "label", "score", "position"),
        Index(
            "ix_results_job_id_error_code",
            "job_id",
            "error_code",
            "position",
            sqlite_where=text("status = 'failed'"),
            postgresql_where=text("status = 'failed'"),
        ),
        # `ix_results_uri` and `ix_results_content_hash`, too, but not the same on each database: see
        # migrations 0002 and 0003.
    )

    # No foreign key: PostgreSQL would look the job up once per row, and the guarded chunk vouches for it.
    job_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    chunk_id: Mapped[int]
    uri: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(String(8))
    class_index: Mapped[int | None]
    label: Mapped[str | None] = mapped_column(Text)
    score: Mapped[float | None] = mapped_column(Float)
    #: Best first: `[class_index, label, score]` each.
    predictions: Mapped[list[Any] | None] = mapped_column(JSON(none_as_null=True))
    error_code: Mapped[str | None] = mapped_column(String(32))
    error: Mapped[str | None] = mapped_column(Text)
    width: Mapped[int | None]
    height: Mapped[int | None]
    content_hash: Mapped[str | None] = mapped_column(String(32))
    extra: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    model: Mapped[str] = mapped_column(String(200))
    worker: Mapped[str | None] = mapped_column(String(200))
    classified_at: Mapped[datetime]
    #: How often the image was classified: 1, and one more for each `retry` of it.
    attempts: Mapped[int] = mapped_column(default=1, server_default="1")


class Embedding(Base):
    """What a network's last hidden layer says of an image; only for jobs that ask for it."""

    __tablename__ = "embeddings"

    job_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    #: Little-endian float16 numbers.
    vector: Mapped[bytes]


class Worker(Base):
    """A worker's sign of life, by the database's clock."""

    __tablename__ = "workers"

    id: Mapped[str] = mapped_column(String(200), primary_key=True)
    host: Mapped[str] = mapped_column(String(200))
    pid: Mapped[int]
    queue: Mapped[str] = mapped_column(String(100))
    slots: Mapped[int]
    engine: Mapped[str] = mapped_column(String(32))
    device: Mapped[str] = mapped_column(String(100))
    started_at: Mapped[datetime]
    last_seen: Mapped[datetime]


class Counter(Base):
    """How often something rare happened: duplicates dropped, messages refused, chunks swept."""

    __tablename__ = "counters"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[int] = mapped_column(BigInteger)


class Notice(Base):
    """A completion notice to be delivered to a job's webhook; `due_at` NULL: nothing more to do."""

    __tablename__ = "notices"
    __table_args__ = (
        Index(
            "ix_notices_due_at",
            "due_at",
            sqlite_where=text("due_at IS NOT NULL"),
            postgresql_where=text("due_at IS NOT NULL"),
        ),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    job_id: Mapped[int]
    #: How the job had ended when the notice was written.
    status: Mapped[str] = mapped_column(String(24))
    url: Mapped[str] = mapped_column(Text)
    attempts: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime]
    due_at: Mapped[datetime | None]
    delivered_at: Mapped[datetime | None]
    error: Mapped[str | None] = mapped_column(Text)


class Arrival(Base):
    """A file that `classyard watch` has seen whole, and the job it went to: each is submitted once."""

    __tablename__ = "arrivals"
    __table_args__ = (
        Index(
            "ix_arrivals_batch",
            "batch",
            sqlite_where=text("job_id IS NULL"),
            postgresql_where=text("job_id IS NULL"),
        ),
    )

    #: Hash of who watches, of the URI, size and time of change: a file that is replaced is another.
    version: Mapped[str] = mapped_column(String(32), primary_key=True)
    uri: Mapped[str] = mapped_column(Text)
    #: The key of the job that the file goes to, decided before the job exists.
    batch: Mapped[str] = mapped_column(String(64))
    #: NULL until that job is submitted whole.
    job_id: Mapped[int | None]
    seen_at: Mapped[datetime]
