"""`loradex.db.session` for asyncio: the same connections, awaited."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import psycopg

from loradex.db.address import connection_options
from loradex.db.session import translate_errors, uses_before_prepared
from loradex.db.session_settings import LIFT, LIFTS, SETTLE, settling
from loradex.program import program_name


class AsyncSession(psycopg.AsyncConnection[tuple[Any, ...]]):
    """`Session` for asyncio."""

    pooled = False


async def connect(
    url: str, *, application: str | None = None, prepare_threshold: int | None = None
) -> AsyncSession:
    """`loradex.db.session.connect`, awaited."""
    with translate_errors():
        connection = await AsyncSession.connect(**connection_options(url, application or program_name()))
        try:
            connection.pooled = await _settle(connection) != connection.info.backend_pid
            connection.prepare_threshold = uses_before_prepared(prepare_threshold, pooled=connection.pooled)
            if connection.pooled:
                await connection.set_isolation_level(psycopg.IsolationLevel.READ_COMMITTED)
                await connection.set_read_only(False)
                await connection.set_deferrable(False)
        except BaseException:
            await connection.close()
            raise
        return connection


@asynccontextmanager
async def settled(connection: AsyncSession) -> AsyncIterator[None]:
    """`loradex.db.session.settled`, awaited."""
    async with AsyncExitStack() as transaction:
        if connection.pooled:
            await _settle(connection, transaction)
        yield


async def _settle(connection: AsyncSession, transaction: AsyncExitStack | None = None, lifts: int = 0) -> int:
    values = settling(connection.info.backend_pid)
    try:
        async with AsyncExitStack() as begun:
            if lifts or transaction is not None:
                await begun.enter_async_context(connection.transaction())
            if lifts:
                await connection.execute(LIFT)
            row = await (await connection.execute(SETTLE, values)).fetchone()
            if transaction is not None:
                transaction.push_async_exit(begun.pop_all())
    except psycopg.errors.QueryCanceled:
        if lifts == LIFTS:
            raise
        return await _settle(connection, transaction, lifts + 1)
    return int(row[0]) if row is not None else 0
