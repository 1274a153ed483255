"""Retries, reused results, skipped images, and the outbox of completion notices."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_OK = sa.text("status = 'ok'")


def upgrade() -> None:
    """Add columns and indexes; existing rows get the value that is true of them."""
    op.add_column("jobs", sa.Column("skipped", sa.Integer(), nullable=False, server_default="0"))
    op.add_column(
        "chunks", sa.Column("retry", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    op.add_column("chunks", sa.Column("reused", sa.Integer(), nullable=False, server_default="0"))
    op.add_column(
        "results", sa.Column("attempts", sa.Integer(), nullable=False, server_default="1")
    )
    # PostgreSQL: a URI may be longer than a B-tree's entry; an index of the kind "hash" would slow
    # down with every further row of the same URI.
    postgresql = op.get_bind().dialect.name == "postgresql"
    uri = sa.text("hashtextextended(uri, 0)") if postgresql else "uri"
    for name, key in (("uri", uri), ("content_hash", "content_hash")):
        op.create_index(
            f"ix_results_{name}", "results", [key], sqlite_where=_OK, postgresql_where=_OK
        )
    op.create_table(
        "notices",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=24), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notices")),
    )
    op.create_index(
        "ix_notices_due_at",
        "notices",
        ["due_at"],
        sqlite_where=sa.text("due_at IS NOT NULL"),
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )


def downgrade() -> None:
    """Take back what `upgrade` added; attempt counts and notices are lost."""
    op.drop_table("notices")
    for name in ("content_hash", "uri"):
        op.drop_index(f"ix_results_{name}", table_name="results")
    op.drop_column("results", "attempts")
    op.drop_column("chunks", "reused")
    op.drop_column("chunks", "retry")
    op.drop_column("jobs", "skipped")
