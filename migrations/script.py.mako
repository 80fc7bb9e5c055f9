"""${message}

Rules: a table is changed additively before the code that needs it is deployed, destructively after. A lock is held for
seconds, never minutes: indexes on big tables are built CONCURRENTLY in a revision of their own. Functions and views are
frozen copies in migrations/sql, never edited again; the downgrade runs the older copy.

Revision ID: ${up_revision}
Revises: ${down_revision | comma,n}
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}

revision: str = ${repr(up_revision)}
down_revision: str | None = ${repr(down_revision)}
branch_labels: str | Sequence[str] | None = ${repr(branch_labels)}
depends_on: str | Sequence[str] | None = ${repr(depends_on)}


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    ${downgrades if downgrades else "pass"}
