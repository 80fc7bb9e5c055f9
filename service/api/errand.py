"""What this process cannot compute is left in Postgres for a worker, and taken away once it is there."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, LiteralString
from uuid import UUID

from loradex.errors import LoradexError
from loradex.logs import FIELDS
from loradex.service.api.asking import LOG, Asking
from loradex.service.api.problem import NO_RETRY, Problem
from loradex.service.client import AsyncClient

FIRST_LOOK = 0.005
"""Seconds until it is first looked whether it is there; each later pause is half as long again."""

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Errand:
    """Statements that ask for something, take it, and leave it; the first gives an `id`, which is what the others take.

    Attributes:
        name: What the log calls it.
        longest_pause: Seconds between two looks at most.
    """

    name: str
    ask: LiteralString
    take: LiteralString
    leave: LiteralString
    longest_pause: float

    async def done(
        self, client: AsyncClient, values: Sequence[object], asking: Asking, seconds: float, late: str
    ) -> Rows:
        """What `take` gives.

        Args:
            client: Acts for whoever asks.
            values: Of the statement that asks.
            asking: Has the request deleted when whoever asked has left, or time is over.
            seconds: How long to wait.
            late: What is said when it was not there in time.

        Raises:
            Problem: It was not there in time.
        """
        handing_in = asyncio.ensure_future(client.rows(self.ask, tuple(values)))
        try:
            (row,) = await asyncio.shield(handing_in)
            async with asyncio.timeout(seconds):
                return await self._taken(client, row["id"])
        except asyncio.CancelledError:
            asking.afterwards(self._left(client, handing_in))
            raise
        except TimeoutError:
            asking.afterwards(self._left(client, handing_in))
            raise Problem(504, "wait_timeout", late, headers=NO_RETRY) from None

    async def _taken(self, client: AsyncClient, request: UUID) -> Rows:
        pause = FIRST_LOOK
        while not (rows := await client.rows(self.take, (request,))):
            await asyncio.sleep(pause)
            pause = min(1.5 * pause, self.longest_pause)
        return rows

    async def _left(self, client: AsyncClient, handing_in: "asyncio.Future[Rows]") -> None:
        """Have deleted what nobody waits for, once it is known what that is; by itself it goes after ten minutes."""
        try:
            await client.rows(self.leave, [row["id"] for row in await handing_in])
        except LoradexError as error:
            LOG.warning(f"{self.name}.not_left", extra={FIELDS: {"code": error.code}})
