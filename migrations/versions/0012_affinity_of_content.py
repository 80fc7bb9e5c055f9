"""What was measured of a content counts for every version of an adapter that has it.

Revision ID: 0012
Revises: 0011
"""

from collections.abc import Sequence

from alembic import op

from db.sqlfiles import frozen_statement

revision: str = "0012"
down_revision: str | None = "0011"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.execute(frozen_statement("0012_register_affinity.sql"))


def downgrade() -> None:
    op.execute(frozen_statement("0011_register_affinity.sql"))
