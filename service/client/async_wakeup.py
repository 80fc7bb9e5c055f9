"""`Waker` for asyncio: kombu blocks, so it rings in a thread, once for all who ring at the same time."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

from loradex.errors import RedisUnavailableError
from loradex.service.client.wakeup import Waker


class AsyncWaker:
    """Rings one after the other: with Redis away, many callers wait for two rings at most."""

    def __init__(self, waker: Waker) -> None:
        self._waker = waker
        self._ringing = asyncio.Lock()
        self._jobs: list[UUID] = []
        self._next: asyncio.Task[RedisUnavailableError | None] | None = None

    async def wake(self, jobs: Sequence[UUID]) -> RedisUnavailableError | None:
        """Send the ids of waiting jobs; why Redis does not take them, or None."""
        self._jobs += jobs
        if self._next is None:
            self._next = asyncio.create_task(self._ring())
        return await asyncio.shield(self._next)

    async def close(self) -> None:
        """Give the connections back."""
        async with self._ringing:
            await asyncio.to_thread(self._waker.close)

    async def _ring(self) -> RedisUnavailableError | None:
        async with self._ringing:
            jobs, self._jobs, self._next = self._jobs, [], None
            try:
                await asyncio.to_thread(self._waker.wake, jobs)
            except RedisUnavailableError as error:
                return error
        return None
