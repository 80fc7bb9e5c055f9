"""`loradex.db.pool` for asyncio: the same rules, awaited."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg

from loradex.db.async_session import AsyncSession, connect, settled
from loradex.db.outages import is_outage
from loradex.db.pool import BUSY_SECONDS, CLOSED, busy, descriptors, is_quiet, is_reusable
from loradex.db.session import translate_errors
from loradex.errors import ClientClosedError
from loradex.forks import let_go, renew_after_fork
from loradex.program import program_name

FORKED = "this client was used before its process was forked, and is its parent's; make a new one"


class AsyncPool:
    """`Pool` for the tasks of one event loop. Forked after its first use it is of no more use to the child."""

    def __init__(
        self,
        url: str,
        *,
        size: int = 1,
        application: str | None = None,
        prepare_threshold: int | None = None,
        idle_seconds: float | None = None,
    ) -> None:
        self._url = url
        self._size = size
        self._application = application or program_name()
        self._prepare_threshold = prepare_threshold
        self._idle_seconds = idle_seconds
        self._room = asyncio.BoundedSemaphore(size)
        self._idle: deque[tuple[float, AsyncSession]] = deque()
        self._sweeper: asyncio.TimerHandle | None = None
        self._sweeping: asyncio.Task[None] | None = None
        self._used = False
        self._closed = ""
        renew_after_fork(self)

    @property
    def exhausted(self) -> bool:
        """Whether all connections that there may be are lent."""
        return self._room.locked()

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncSession]:
        """A connection for one call; what Postgres reports within is raised as a typed error."""
        async with self.lent() as connection, settled(connection):
            yield connection

    @asynccontextmanager
    async def lent(self) -> AsyncIterator[AsyncSession]:
        """A connection as it is, for as long as the block runs."""
        self._used = True
        with translate_errors():
            try:
                async with asyncio.timeout(BUSY_SECONDS):
                    await self._room.acquire()
            except TimeoutError:
                raise busy(self._size) from None
            try:
                connection = await self._newest_idle() or await connect(
                    self._url, application=self._application, prepare_threshold=self._prepare_threshold
                )
                try:
                    yield connection
                except psycopg.Error as error:
                    if is_outage(error):
                        await connection.close()
                        await self._close_idle()
                    raise
                finally:
                    await self._take_back(connection)
            finally:
                self._room.release()

    async def close(self) -> None:
        """Give the connections back, for good; those in use are closed after their call."""
        self._closed = self._closed or CLOSED
        if self._sweeper is not None:
            self._sweeper.cancel()
        await self._close_idle()

    def renew(self) -> None:
        """Leave the connections to the parent of this process."""
        if self._used:
            idle, self._idle = self._idle, deque()
            self._closed = self._closed or FORKED
            let_go(descriptors(connection for _, connection in idle))

    async def _newest_idle(self) -> AsyncSession | None:
        if self._closed:
            raise ClientClosedError(self._closed)
        while self._idle:
            _, connection = self._idle.pop()
            if is_quiet(connection) or await _answers(connection):
                return connection
            await connection.close()
        return None

    async def _close_idle(self) -> None:
        idle, self._idle = self._idle, deque()
        for _, connection in idle:
            await connection.close()

    async def _take_back(self, connection: AsyncSession) -> None:
        if self._closed or not is_reusable(connection):
            await connection.close()
            return
        self._idle.append((asyncio.get_running_loop().time(), connection))
        self._sweep_later()

    def _sweep_later(self) -> None:
        if self._idle_seconds is not None and self._sweeper is None:
            loop = asyncio.get_running_loop()
            self._sweeper = loop.call_later(self._idle_seconds, self._start_sweep, self._idle_seconds)

    def _start_sweep(self, seconds: float) -> None:
        self._sweeping = asyncio.ensure_future(self._sweep(seconds))

    async def _sweep(self, seconds: float) -> None:
        """Close what has been idle for `seconds`; the oldest lie first."""
        self._sweeper = None
        old = asyncio.get_running_loop().time() - seconds
        while self._idle and self._idle[0][0] <= old:
            await self._idle.popleft()[1].close()
        if self._idle:
            self._sweep_later()


async def _answers(connection: AsyncSession) -> bool:
    try:
        await connection.execute("select")
    except psycopg.Error:
        return False
    return True
