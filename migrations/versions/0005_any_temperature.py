"""Votes that no temperature and no similarity can under- or overflow.

Revision ID: 0005
Revises: 0004
"""

from collections.abc import Sequence

from alembic import op

from db.sqlfiles import frozen_statement

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.execute(frozen_statement("0005_mix_neighbours.sql"))


def downgrade() -> None:
    op.execute(frozen_statement("0002_mix_neighbours.sql"))
