"""A question costs Postgres less: plans that are kept, an outcome instead of an explanation, a shorter claim.

Revision ID: 0013
Revises: 0012
"""

from collections.abc import Sequence

from alembic import op

from db.sqlfiles import frozen_statement

revision: str = "0013"
down_revision: str | None = "0012"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

NEW = ("answer_document", "job_outcome")
BEFORE = {
    "claim_jobs": "0002",
    "enqueue_jobs": "0010",
    "explain": "0002",
    "route_jobs": "0011",
}


def upgrade() -> None:
    for name in (*NEW, *BEFORE):
        op.execute(frozen_statement(f"0013_{name}.sql"))


def downgrade() -> None:
    for name, number in BEFORE.items():
        op.execute(frozen_statement(f"{number}_{name}.sql"))
    op.execute("drop function loradex.job_outcome")
    op.execute("drop function loradex.answer_document")
