"""`Listener` for asyncio: one task and one connection for all who wait."""

import asyncio
import logging
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import class_row

from loradex.db.async_pool import AsyncPool
from loradex.db.async_session import AsyncSession, settled
from loradex.db.pool import is_reusable
from loradex.db.postgres_errors import typed_error
from loradex.errors import (
    ClientClosedError,
    DatabaseUnavailableError,
    KeyRefusedError,
    PermissionRefusedError,
)
from loradex.service.client.acting import fetched
from loradex.service.client.outcome import ENDED, JobOutcome
from loradex.service.client.waiting import (
    CHANNEL,
    LONGEST_SILENCE_SECONDS,
    LOOK_AT_ONCE,
    POLL_SECONDS,
    RECONNECT_SECONDS,
    RELEASE_SECONDS,
    UNHEARD,
    Waiting,
)


class AsyncListener:
    """A task that lives while somebody waits, and holds a connection for as long; as `Listener` does.

    Attributes:
        outage: Why Postgres cannot be asked now, or None.
    """

    def __init__(self, pool: AsyncPool) -> None:
        self.outage: DatabaseUnavailableError | None = None
        self._pool = pool
        self._waiting = Waiting()
        self._closed = False
        self._nudged = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._said = False
        self._away = False
        self._log = logging.getLogger("loradex.client")

    @asynccontextmanager
    async def watch(
        self, jobs: Collection[UUID], key: str | None = None
    ) -> "AsyncIterator[asyncio.Queue[Any]]":
        """A queue that gets the outcome of each job when it has ended, or an error instead of them (`Ended`).

        Whoever watches may put there what else it waits for.

        With an API key they are looked at as its owner.
        """
        ended: asyncio.Queue[Any] = asyncio.Queue()
        if not self._waiting:
            # It is of those who waited before; nobody has asked Postgres since.
            self.outage = None
        try:
            with self._waiting.watch(jobs, ended.put_nowait, key):
                self._begin()
                yield ended
        finally:
            await self._end()

    def look(self) -> None:
        """Look at once where no notification comes through: a job may have ended."""
        self._nudged.set()

    async def close(self) -> None:
        self._closed = True
        self._waiting.fail(ClientClosedError("this client was closed while it waited; its jobs go on"))
        self._nudged.set()
        await self._released()

    def _begin(self) -> None:
        if self._closed:
            raise ClientClosedError("this client was closed; make a new one")
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="loradex-listener")
        self._nudged.set()

    async def _end(self) -> None:
        """Have the connection given back before the next call needs one, if nobody else waits.

        Where there are others, whoever has an answer does not wait for the end of listening.
        """
        self._nudged.set()
        if self._pool.exhausted:
            await self._released()

    async def _released(self) -> None:
        if not self._waiting and self._task is not None:
            await asyncio.wait([self._task], timeout=RELEASE_SECONDS)

    async def _run(self) -> None:
        while self._waiting:
            try:
                async with self._pool.lent() as connection:
                    await self._serve(connection)
            except DatabaseUnavailableError as error:
                if not self._away:
                    self._log.warning("listening again: %s", error)
                self._away, self.outage = True, error
                await self._pause(RECONNECT_SECONDS)
            except Exception as error:  # noqa: BLE001 - whoever waits is told, whatever it is
                self._waiting.fail(error)

    async def _pause(self, seconds: float) -> None:
        """Wait for a nudge, for `seconds` at most."""
        self._nudged.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._nudged.wait()
        except TimeoutError:
            return

    async def _serve(self, connection: AsyncSession) -> None:
        """Look for outcomes until nobody waits."""
        if connection.pooled:
            self._say_unheard()
            await self._hear(connection, listening=False)
            return
        await connection.execute(f"listen {CHANNEL}")
        try:
            await self._hear(connection, listening=True)
        finally:
            # One that goes on listening and is not read would fill the queue of notifications for everybody.
            if is_reusable(connection):
                await connection.execute(f"unlisten {CHANNEL}")

    async def _hear(self, connection: AsyncSession, *, listening: bool) -> None:
        await self._look(connection, self._waiting.all())
        while self._waiting:
            if not listening:
                await self._pause(POLL_SECONDS)
                await self._look(connection, self._waiting.all())
                continue
            # What was said while we looked is read from the socket already, which would not wake us.
            said = [one.payload async for one in connection.notifies(timeout=0)]
            came = bool(said) or await self._came(connection)
            said += [one.payload async for one in connection.notifies(timeout=0)]
            await self._look(connection, self._waiting.worth_a_look(said) if came else self._waiting.all())

    async def _came(self, connection: AsyncSession) -> bool:
        """Wait for a notification or a nudge; False after a long silence."""
        loop = asyncio.get_running_loop()
        loop.add_reader(connection.fileno(), self._nudged.set)
        try:
            async with asyncio.timeout(LONGEST_SILENCE_SECONDS):
                await self._nudged.wait()
        except TimeoutError:
            return False
        finally:
            loop.remove_reader(connection.fileno())
            self._nudged.clear()
        return True

    def _say_unheard(self) -> None:
        if not self._said:
            self._said = True
            self._log.warning(UNHEARD)

    async def _look(self, connection: AsyncSession, jobs: Sequence[UUID]) -> None:
        for key, own in self._waiting.by_key(jobs).items():
            some = iter(own)
            while chunk := list(islice(some, LOOK_AT_ONCE)):
                try:
                    found = await _ended(connection, chunk, key)
                except psycopg.Error as error:
                    refused = typed_error(error)
                    if key is None or not isinstance(refused, KeyRefusedError | PermissionRefusedError):
                        raise
                    # A key that was revoked meanwhile is nothing to those who wait with others.
                    self._waiting.refuse(refused, chunk, key)
                    continue
                for outcome in found:
                    self._waiting.deliver(outcome, key)
        self._away, self.outage = False, None


async def _ended(connection: AsyncSession, jobs: Sequence[UUID], key: str | None) -> list[JobOutcome]:
    """Those of the jobs that have ended, as the owner of the key sees them."""
    async with settled(connection):
        return await fetched(connection, key, ENDED, (jobs,), class_row(JobOutcome))
