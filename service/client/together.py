"""Jobs of several streams, which are handed in at once."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loradex.service.client.async_job import AsyncJob


class Together:
    """Jobs that are handed in by whoever asks for one of them first.

    Args:
        hand_in: Hands them all in; it is called once.
    """

    def __init__(self, hand_in: "Callable[[], Awaitable[Sequence[AsyncJob]]]") -> None:
        self._hand_in = hand_in
        self._handing: asyncio.Future[Sequence[AsyncJob]] | None = None

    async def job(self, place: int) -> "AsyncJob":
        """The job at this place. Raises as `AsyncClient.enqueue_many`; whoever is cancelled here cancels no others."""
        if self._handing is None:
            self._handing = asyncio.ensure_future(self._hand_in())
        return (await asyncio.shield(self._handing))[place]
