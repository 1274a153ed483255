"""SQLite indexes contents only for who reuses: `db.reuse.index_contents` makes it again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_NAME = "ix_results_content_hash"


def upgrade() -> None:
    """Drop the index on SQLite, where it costs every row a page of its own."""
    if op.get_bind().dialect.name == "sqlite":
        op.drop_index(_NAME, table_name="results", if_exists=True)


def downgrade() -> None:
    """Make it again."""
    if op.get_bind().dialect.name == "sqlite":
        op.create_index(
            _NAME, "results", ["content_hash"], sqlite_where=sa.text("status = 'ok'"),
            if_not_exists=True,
        )  # fmt: skip
