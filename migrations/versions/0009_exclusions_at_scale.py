"""With most of a large table excluded, look at every row that is left, up to an eighth of the table.

Revision ID: 0009
Revises: 0008
"""

from collections.abc import Sequence

from alembic import op

from db.sqlfiles import frozen_statement

revision: str = "0009"
down_revision: str | None = "0008"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.execute(frozen_statement("0009_search_examples.sql"))


def downgrade() -> None:
    op.execute(frozen_statement("0004_search_examples.sql"))
