"""Both indexes of results end with the position: a page in their order is read without sorting."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_FAILED = sa.text("status = 'failed'")


def upgrade() -> None:
    """Make both again, with the position."""
    _make(["job_id", "label", "score", "position"], ["job_id", "error_code", "position"])


def downgrade() -> None:
    """Make both again, without it."""
    _make(["job_id", "label", "score"], ["job_id", "error_code"])


def _make(by_label: list[str], by_code: list[str]) -> None:
    for name, columns, where in (
        ("ix_results_job_id_label", by_label, None),
        ("ix_results_job_id_error_code", by_code, _FAILED),
    ):
        op.drop_index(name, table_name="results", if_exists=True)
        op.create_index(name, "results", columns, sqlite_where=where, postgresql_where=where)
