"""The chain is verified by several processes; a queue that is nearly full counts exactly.

Revision ID: 0007
Revises: 0006
"""

from collections.abc import Sequence

from alembic import op

from db.sqlfiles import frozen_statement

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

CHANGED = ("answer_canonical", "answer_hash", "verify_audit_chain", "enqueue_jobs")


def upgrade() -> None:
    for name in CHANGED:
        op.execute(frozen_statement(f"0007_{name}.sql"))


def downgrade() -> None:
    for name in CHANGED:
        op.execute(frozen_statement(f"0002_{name}.sql"))
