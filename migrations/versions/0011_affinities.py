"""What each adapter was measured to be worth on each task, and a method that weighs adapters by it.

Revision ID: 0011
Revises: 0010
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from db.sqlfiles import frozen_statement

revision: str = "0011"
down_revision: str | None = "0010"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

FUNCTIONS = ("mix_affinities", "affinity_mixture", "register_affinity")
KINDS = "'none', 'named', 'first', 'all', 'nucleus'"
COMMENT = "which adapters take part: none, named (by the job), first, all (alike), nucleus (by weight)"


def upgrade() -> None:
    op.create_table(
        "task_affinities",
        sa.Column("task", sa.Text(), nullable=False, comment="whose rows were asked"),
        sa.Column("adapter_id", sa.BigInteger(), nullable=False, comment="the adapter that answered"),
        sa.Column("score", sa.Double(), nullable=False, comment="how well, from 0 to 1"),
        sa.Column("n", sa.Integer(), nullable=False, comment="rows asked"),
        sa.Column(
            "measured_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="when",
        ),
        sa.CheckConstraint("score between 0 and 1", name=op.f("task_affinities_score_check")),
        sa.CheckConstraint("n > 0", name=op.f("task_affinities_n_check")),
        sa.ForeignKeyConstraint(
            ["adapter_id"], ["loradex.adapters.id"], name=op.f("task_affinities_adapter_id_fkey")
        ),
        sa.ForeignKeyConstraint(["task"], ["loradex.tasks.name"], name=op.f("task_affinities_task_fkey")),
        sa.PrimaryKeyConstraint("task", "adapter_id", name=op.f("task_affinities_pkey")),
        schema="loradex",
        comment="How well each adapter answers each task, on rows that no adapter was trained on.",
    )
    _kinds(f"{KINDS}, 'affinity'", f"{COMMENT}, affinity (by what was measured)")
    for name in ("affinity_roles", *FUNCTIONS, "route_jobs", "methods"):
        op.execute(frozen_statement(f"0011_{name}.sql"))


def downgrade() -> None:
    op.execute("delete from loradex.methods where adapters = 'affinity'")
    _kinds(KINDS, COMMENT)
    op.execute(frozen_statement("0004_route_jobs.sql"))
    for name in reversed(FUNCTIONS):
        op.execute(f"drop function loradex.{name}")
    op.drop_table("task_affinities", schema="loradex")


def _kinds(kinds: str, comment: str) -> None:
    name = op.f("methods_adapters_check")
    op.drop_constraint(name, "methods", schema="loradex", type_="check")
    op.create_check_constraint(name, "methods", f"adapters in ({kinds})", schema="loradex")
    op.alter_column("methods", "adapters", comment=comment, schema="loradex")
