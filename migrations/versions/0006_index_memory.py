"""An index is built in the memory the session has, if that is more than 512 MB.

Revision ID: 0006
Revises: 0005
"""

from collections.abc import Sequence

from alembic import op

from db.sqlfiles import frozen_statement

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.execute(frozen_statement("0006_build_encoder_index.sql"))


def downgrade() -> None:
    op.execute(frozen_statement("0004_build_encoder_index.sql"))
