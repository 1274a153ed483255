"""Embeddings: what the network's last hidden layer says of an image, for jobs that ask for it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the table; jobs without embeddings have no rows in it."""
    op.create_table(
        "embeddings",
        sa.Column("job_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("vector", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "position", name=op.f("pk_embeddings")),
    )


def downgrade() -> None:
    """Drop the table with all embeddings."""
    op.drop_table("embeddings")
