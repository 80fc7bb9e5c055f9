"""Reading Postgres for pages: with a login of the role reader, or for the owner of an API key."""

import asyncio
from typing import Any, LiteralString, Protocol

from psycopg.rows import dict_row
from psycopg.sql import Composed

from loradex.db.async_pool import AsyncPool
from loradex.db.pool import IDLE_SECONDS
from loradex.program import program_name
from loradex.service.api.problem import Problem

Statement = LiteralString | Composed
Found = list[dict[str, Any]]

CONNECTIONS = 4
SECONDS = 15.0
"""What one statement of a page may take."""

AT_ONCE = 2
"""Statements of all pages of one server at a time, so that who looks does not keep others from asking."""

TOO_SLOW = Problem(
    504,
    "too_slow",
    f"this took longer than {SECONDS:g} s and was stopped; choose a shorter time or another filter, or run the SQL "
    "of the page with `loradex db psql`",
)


class Rows(Protocol):
    """Whatever reads rows; `AsyncClient` does."""

    async def rows(self, statement: Statement, values: Any = None) -> Found:
        """The rows of a statement that reads."""


class Reader:
    """Connections of a login that sees everything."""

    def __init__(self, url: str) -> None:
        self._pool = AsyncPool(
            url, size=CONNECTIONS, application=program_name("loradex explore"), idle_seconds=IDLE_SECONDS
        )

    async def rows(self, statement: Statement, values: Any = None) -> Found:
        """The rows of a statement that reads."""
        async with self._pool.session() as session, session.cursor(row_factory=dict_row) as cursor:
            return await (await cursor.execute(statement, values)).fetchall()

    async def close(self) -> None:
        """Give the connections back, for good."""
        await self._pool.close()


class Bounded:
    """Rows of another, a few statements at a time, and none for longer than `SECONDS`."""

    def __init__(self, source: Rows, room: asyncio.Semaphore) -> None:
        self._source = source
        self._room = room

    async def rows(self, statement: Statement, values: Any = None) -> Found:
        """The rows of a statement that reads.

        Raises:
            Problem: It took too long, and Postgres was told to stop.
        """
        try:
            async with asyncio.timeout(SECONDS), self._room:
                return await self._source.rows(statement, values)
        except TimeoutError:
            raise TOO_SLOW from None
