"""Acting for the owner of an API key: the key is shown in each transaction anew, and Postgres decides."""

from typing import LiteralString

from psycopg.abc import Params
from psycopg.rows import AsyncRowFactory, Row
from psycopg.sql import Composed

from loradex.db.async_session import AsyncSession

AUTHENTICATE: LiteralString = "select loradex.authenticate(%s)"


async def fetched(
    connection: AsyncSession,
    key: str | None,
    statement: LiteralString | Composed,
    values: Params | None,
    row_factory: AsyncRowFactory[Row],
) -> list[Row]:
    """The rows of a statement, in one transaction as the owner of the key; without a key the session stays as it is."""
    async with connection.cursor(row_factory=row_factory) as cursor:
        if key is None:
            await cursor.execute(statement, values)
        elif connection.pooled:
            async with connection.transaction():
                await connection.execute(AUTHENTICATE, (key,))
                await cursor.execute(statement, values)
        else:
            # Both are sent before either is answered, and what is sent together is one transaction. Statements are
            # prepared at their first use: psycopg would not notice that the preparation of a later one was skipped,
            # because the key was refused.
            async with connection.pipeline():
                await connection.execute(AUTHENTICATE, (key,), prepare=True)
                await cursor.execute(statement, values, prepare=True)
        return await cursor.fetchall()
