"""A search looks at more candidates in a larger table, and a large batch is searched by several processes.

Indexes that are there stay: `loradex.drop_encoder_index` and `build_encoder_index` make one as it would be made now,
which is worth it above 100,000 examples.

Revision ID: 0014
Revises: 0013
"""

from collections.abc import Sequence

from alembic import op

from db.sqlfiles import frozen_statement

revision: str = "0014"
down_revision: str | None = "0013"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

BEFORE = {
    "build_search": "0004",
    "search_examples": "0009",
    "build_encoder_index": "0008",
}


def upgrade() -> None:
    op.execute("set local check_function_bodies = off")
    op.execute("select '[1]'::public.vector")  # so that settings of hnsw are known
    for name in ("search_in_parts", *BEFORE):
        op.execute(frozen_statement(f"0014_{name}.sql"))
    op.execute("select loradex.build_search()")


def downgrade() -> None:
    op.execute("set local check_function_bodies = off")
    op.execute("select '[1]'::public.vector")
    for name, number in BEFORE.items():
        op.execute(frozen_statement(f"{number}_{name}.sql"))
    op.execute("drop function loradex.search_in_parts")
    op.execute("select loradex.build_search()")
