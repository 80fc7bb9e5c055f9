"""Acting for the owner of an API key: the key is shown in each transaction anew, and Postgres decides."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import LiteralString

from loradex.db.async_session import AsyncSession

AUTHENTICATE: LiteralString = "select loradex.authenticate(%s)"


@asynccontextmanager
async def acting(connection: AsyncSession, key: str | None) -> AsyncIterator[None]:
    """One transaction as the owner of the key; without a key the session stays as it is."""
    if key is None:
        yield
        return
    async with connection.transaction():
        await connection.execute(AUTHENTICATE, (key,))
        yield
