"""What `classyard watch` has seen, so that each file is submitted once."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_OPEN = sa.text("job_id IS NULL")


def upgrade() -> None:
    """Add the table; nobody has watched yet."""
    op.create_table(
        "arrivals",
        sa.Column("version", sa.String(length=32), nullable=False),
        sa.Column("uri", sa.Text(), nullable=False),
        sa.Column("batch", sa.String(length=64), nullable=False),
        sa.Column("job_id", sa.Integer(), nullable=True),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_arrivals")),
    )
    op.create_index(
        "ix_arrivals_batch", "arrivals", ["batch"], sqlite_where=_OPEN, postgresql_where=_OPEN
    )


def downgrade() -> None:
    """Drop the table: what was watched would be submitted again."""
    op.drop_table("arrivals")
