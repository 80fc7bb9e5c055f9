"""What all tables share: the schema, the names of constraints, and the column kinds used everywhere."""

from typing import Any

from sqlalchemy import MetaData, func
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP
from sqlalchemy.orm import DeclarativeBase, MappedColumn, mapped_column
from sqlalchemy.types import UserDefinedType

SCHEMA = "loradex"

Timestamp = TIMESTAMP(timezone=True)


class Base(DeclarativeBase):
    """Root of the declarations; Alembic compares them with the migrated database."""

    metadata = MetaData(
        schema=SCHEMA,
        naming_convention={
            "ix": "%(table_name)s_%(column_0_N_name)s_index",
            "uq": "%(table_name)s_%(column_0_N_name)s_key",
            "ck": "%(table_name)s_%(constraint_name)s_check",
            "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
            "pk": "%(table_name)s_pkey",
        },
    )


class Vector(UserDefinedType[Any]):
    """pgvector's `vector` of any length; each encoder's partial index holds its vectors to one length."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "vector"


def created_at(comment: str = "when the row was written") -> MappedColumn[Any]:
    return mapped_column(Timestamp, nullable=False, server_default=func.now(), comment=comment)


def document(comment: str, default: str | None = None) -> MappedColumn[Any]:
    return mapped_column(JSONB, nullable=False, server_default=default, comment=comment)
