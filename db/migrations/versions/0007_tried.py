"""Chunks that were tried often: each sweep looks for them, among millions that wait."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_TRIED = sa.text("status = 'pending' AND attempts >= 3")


def upgrade() -> None:
    """Add the index."""
    op.create_index(
        "ix_chunks_tried", "chunks", ["id"], sqlite_where=_TRIED, postgresql_where=_TRIED
    )


def downgrade() -> None:
    """Drop the index."""
    op.drop_index("ix_chunks_tried", table_name="chunks")
