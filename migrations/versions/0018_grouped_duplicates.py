"""Of near duplicates in a large table one is in the index; a search opens the groups. Mixtures of many queries.

Nothing is grouped until `loradex.group_duplicates` is called, and indexes that are there stay. The administrator writes no
`duplicate_of` by hand.

Revision ID: 0018
Revises: 0017
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from db.sqlfiles import frozen_statement

revision: str = "0018"
down_revision: str | None = "0017"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

NEW = ("group_duplicates", "search_groups", "adapter_mixtures")
TABLE = "example_embeddings"
BY_TASK = "example_embeddings_encoder_task_index"
BEFORE = {
    "build_search": "0014",
    "build_encoder_index": "0014",
    "search_examples": "0014",
    "search_in_parts": "0014",
    "register_encoder": "0004",
}


def upgrade() -> None:
    op.add_column(
        TABLE,
        sa.Column(
            "duplicate_of",
            sa.BigInteger(),
            nullable=True,
            comment="near duplicate that is in the index for it; null: it is there itself",
        ),
        schema="loradex",
    )
    op.create_foreign_key(
        op.f("example_embeddings_duplicate_of_encoder_fkey"),
        TABLE,
        TABLE,
        ["duplicate_of", "encoder"],
        ["example_id", "encoder"],
        source_schema="loradex",
        referent_schema="loradex",
        ondelete="SET NULL (duplicate_of)",
    )
    op.create_index(
        "example_embeddings_duplicate_index",
        TABLE,
        ["duplicate_of", "encoder"],
        schema="loradex",
        postgresql_where=sa.text("duplicate_of is not null"),
    )
    op.drop_index(BY_TASK, table_name=TABLE, schema="loradex")
    op.create_index(BY_TASK, TABLE, ["encoder", "task", "duplicate_of"], schema="loradex")
    op.execute(frozen_statement("0018_embedding_roles.sql"))
    _prepare()
    for name in (*NEW, *BEFORE):
        op.execute(frozen_statement(f"0018_{name}.sql"))
    op.execute("select loradex.build_search()")


def downgrade() -> None:
    """Indexes that hold groups go with the column and are built anew, over all examples."""
    op.drop_column(TABLE, "duplicate_of", schema="loradex")
    op.create_index(BY_TASK, TABLE, ["encoder", "task"], schema="loradex")
    op.execute("revoke insert (example_id, encoder, task, embedding) on loradex.example_embeddings from loradex_admin")
    op.execute("grant insert on loradex.example_embeddings to loradex_admin")
    _prepare()
    for name in NEW:
        op.execute(f"drop function loradex.{name}")
    for name, number in BEFORE.items():
        op.execute(frozen_statement(f"{number}_{name}.sql"))
    op.execute("select loradex.build_search(), loradex.build_encoder_index(name) from loradex.encoders")


def _prepare() -> None:
    op.execute("set local check_function_bodies = off")
    op.execute("select '[1]'::public.vector")  # so that settings of hnsw are known
