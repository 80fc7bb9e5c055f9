"""What-if functions judge answers that went by affinity by what their method does.

Revision ID: 0016
Revises: 0015
"""

from collections.abc import Sequence

from alembic import op

from db.sqlfiles import frozen_statement

revision: str = "0016"
down_revision: str | None = "0015"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

BEFORE = {"reroute_all": "0004", "simulate_retire": "0003"}


def upgrade() -> None:
    for name in BEFORE:
        op.execute(frozen_statement(f"0016_{name}.sql"))


def downgrade() -> None:
    for name, number in BEFORE.items():
        op.execute(frozen_statement(f"{number}_{name}.sql"))
