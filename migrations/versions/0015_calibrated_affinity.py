"""Affinities measured on more rows are trusted more; the calibrated sum of what they choose is a method and the default.

Revision ID: 0015
Revises: 0014
"""

from collections.abc import Sequence

from alembic import op

from db.sqlfiles import frozen_statement

revision: str = "0015"
down_revision: str | None = "0014"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    for name in ("methods", "mix_affinities", "enqueue_jobs"):
        op.execute(frozen_statement(f"0015_{name}.sql"))


def downgrade() -> None:
    # The method stays in its list: jobs name it.
    op.execute(frozen_statement("0013_enqueue_jobs.sql"))
    op.execute(frozen_statement("0011_mix_affinities.sql"))
