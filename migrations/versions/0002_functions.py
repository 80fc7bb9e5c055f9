"""The functions: retrieval, routing, queue, answers and their chain.

Revision ID: 0002
Revises: 0001
"""

from collections.abc import Sequence

from alembic import op

from db.sqlfiles import frozen_statement

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

FUNCTIONS = (
    "adapter_mixture",
    "answer_canonical",
    "answer_hash",
    "audit_head",
    "build_encoder_index",
    "build_encoder_search",
    "check_job_shapes",
    "check_jobs",
    "check_routing",
    "check_vector",
    "claim_jobs",
    "drop_encoder_index",
    "encoder_index",
    "encoder_search",
    "enqueue_jobs",
    "explain",
    "extend_lease",
    "fail_job",
    "fence_job",
    "job_request",
    "mix_neighbours",
    "nearest_examples",
    "record_answer",
    "refuse_change",
    "register_adapter",
    "register_base_model",
    "register_encoder",
    "register_task",
    "release_jobs",
    "reroute",
    "route_jobs",
    "search_exactly",
    "search_examples",
    "set_adapter_state",
    "task_distribution",
    "verify_audit_chain",
    "waiting_jobs",
)


def upgrade() -> None:
    # A body may call a function that a later file makes.
    op.execute("set local check_function_bodies = off")
    # Only once the library of pgvector is loaded may a plain owner set its parameters on a function.
    op.execute("select '[1]'::public.vector")
    for name in FUNCTIONS:
        op.execute(frozen_statement(f"0002_{name}.sql"))


def downgrade() -> None:
    for name in reversed(FUNCTIONS):
        op.execute(f"drop function loradex.{name} cascade")
