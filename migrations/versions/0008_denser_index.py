"""Indexes with more links, which find more for the same pages. Those of known encoders are rebuilt, under a lock
against writes.

Revision ID: 0008
Revises: 0007
"""

from collections.abc import Sequence

from alembic import op

from db.sqlfiles import frozen_statement

revision: str = "0008"
down_revision: str | None = "0007"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

REBUILD_INDEXES = """
    select loradex.drop_encoder_index(e.name), loradex.build_encoder_index(e.name) from loradex.encoders e
"""


def upgrade() -> None:
    op.execute(frozen_statement("0008_build_encoder_index.sql"))
    op.execute(REBUILD_INDEXES)


def downgrade() -> None:
    op.execute(frozen_statement("0006_build_encoder_index.sql"))
    op.execute(REBUILD_INDEXES)
