"""The analyst's views and functions.

Revision ID: 0003
Revises: 0002
"""

from collections.abc import Sequence

from alembic import op

from db.sqlfiles import frozen_statement

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

FUNCTIONS = (
    "example_neighbours",
    "duplicate_examples",
    "mislabelled_candidates",
    "task_overlap",
    "in_domain_similarity",
    "example_influence",
    "similar_answers",
    "reroute_all",
    "simulate_retire",
)
VIEWS = (
    "answer_provenance",
    "adapter_usage",
    "task_confusion",
    "retrieval_coverage",
    "queue_health",
    "nucleus_profile",
)


def upgrade() -> None:
    op.create_index("jobs_finished_at_index", "jobs", ["finished_at"], schema="loradex")
    for name in FUNCTIONS + VIEWS:
        op.execute(frozen_statement(f"0003_{name}.sql"))


def downgrade() -> None:
    for name in reversed(VIEWS):
        op.execute(f"drop view loradex.{name}")
    for name in reversed(FUNCTIONS):
        op.execute(f"drop function loradex.{name}")
    op.drop_index("jobs_finished_at_index", "jobs", schema="loradex")
