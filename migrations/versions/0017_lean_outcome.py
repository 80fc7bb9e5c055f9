"""Whoever waits for an answer is told which examples were near; their texts are in `explain` alone.

Revision ID: 0017
Revises: 0016
"""

from collections.abc import Sequence

from alembic import op

from db.sqlfiles import frozen_statement

revision: str = "0017"
down_revision: str | None = "0016"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

NAMES = ("answer_document", "explain")


def upgrade() -> None:
    for name in NAMES:
        op.execute(frozen_statement(f"0017_{name}.sql"))


def downgrade() -> None:
    for name in NAMES:
        op.execute(frozen_statement(f"0013_{name}.sql"))
