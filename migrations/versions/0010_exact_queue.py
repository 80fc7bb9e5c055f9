"""However many callers there are at once, the queue takes no more than its bound.

Revision ID: 0010
Revises: 0009
"""

from collections.abc import Sequence

from alembic import op

from db.sqlfiles import frozen_statement

revision: str = "0010"
down_revision: str | None = "0009"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.execute(frozen_statement("0010_enqueue_jobs.sql"))


def downgrade() -> None:
    op.execute(frozen_statement("0007_enqueue_jobs.sql"))
