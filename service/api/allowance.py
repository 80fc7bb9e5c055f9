"""What keys may ask a minute: counted here, agreed on in Postgres.

A server takes a twentieth of a key's minute at a time (`loradex.take_requests`) and counts it off by itself. So every
server holds to one limit, a request of a key with a limit costs no write but each twentieth, and one that is refused
costs Postgres nothing until requests have come back. Servers take for themselves, so one may have a share left that
another lacks: with N servers a key may be told to wait while up to N - 1 twentieths of its minute lie with the others.
"""

import asyncio
import hashlib
import math
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import LiteralString

from loradex.service.api.problem import Problem
from loradex.service.client import AsyncClient
from loradex.service.client.acting import AUTHENTICATE

TAKE: LiteralString = "select * from loradex.take_requests(%s)"
KEPT_SECONDS = 60.0
"""How long a share counts, and how long a limit is taken for the same."""

MOST_KEYS = 10_000


@dataclass
class Allowance:
    """What is known here of one key. Times are of this process's own clock.

    Attributes:
        until: Until when this is known; 0: nothing is.
        limit: Requests a minute; None: any number.
        left: Requests of the share taken last that were not made yet.
        beyond: Requests that Postgres had left for whoever comes next.
        full_at: When a whole minute's requests are back.
        next_at: When the next request is back; requests before are refused.
    """

    until: float = 0.0
    limit: int | None = None
    left: int = 0
    beyond: int = 0
    full_at: float = 0.0
    next_at: float = 0.0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def headers(self, now: float) -> dict[str, str]:
        """OpenAI's headers."""
        if self.limit is None:
            return {}
        return {
            "x-ratelimit-limit-requests": str(self.limit),
            "x-ratelimit-remaining-requests": str(self.left + self.beyond),
            "x-ratelimit-reset-requests": f"{max(0, math.ceil(1000 * (self.full_at - now)))}ms",
        }


class Allowances:
    """What all keys may ask, of which the ones used last are remembered.

    Args:
        client: Acts for nobody; its login is of the role client.
    """

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._keys: OrderedDict[bytes, Allowance] = OrderedDict()

    async def admitted(self, key: str) -> Mapping[str, str]:
        """Count one request of this key, which is authenticated too; the headers that say what is left.

        Raises:
            Problem: The key must wait.
            KeyRefusedError: There is no such key.
        """
        headers, judged = await self.counted(key)
        if not judged:
            await self.judge(key)
        return headers

    async def counted(self, key: str) -> tuple[Mapping[str, str], bool]:
        """Count one request of this key: the headers that say what is left, and whether Postgres judged the key now.

        Otherwise it was good less than `KEPT_SECONDS` ago. Raises as `admitted` does.
        """
        name = hashlib.sha256(key.encode()).digest()
        allowance = self._keys.setdefault(name, Allowance())
        self._keys.move_to_end(name)
        try:
            # Those who come at once wait for one share, instead of taking one each.
            async with allowance.lock:
                judged = await self._asked_postgres(allowance, key)
                return allowance.headers(time.monotonic()), judged
        finally:
            self._forget(name, allowance)

    async def judge(self, key: str) -> None:
        """Authenticate, and nothing else; `KeyRefusedError` where there is no such key."""
        await self._client.rows(AUTHENTICATE, (key,))

    async def _asked_postgres(self, allowance: Allowance, key: str) -> bool:
        """Count one; whether Postgres was asked, which authenticates."""
        now = time.monotonic()
        known = allowance.until > now
        if known and allowance.limit is None:
            return False
        if known and allowance.left > 0:
            allowance.left -= 1
            return False
        if not (known and allowance.next_at > now):
            await self._take(allowance, key)
            if allowance.limit is None:
                return True
            if allowance.left > 0:
                allowance.left -= 1
                return True
        raise _must_wait(allowance)

    async def _take(self, allowance: Allowance, key: str) -> None:
        (row,) = await self._client.rows(TAKE, (key,))
        now = time.monotonic()
        allowance.limit = row["requests_a_minute"]
        allowance.until = now + KEPT_SECONDS
        if allowance.limit is None:
            return
        allowance.left, allowance.beyond = row["granted"], row["remaining"]
        allowance.full_at = now + row["full_in"]
        allowance.next_at = now + row["next_in"] if row["granted"] == 0 else 0.0

    def _forget(self, name: bytes, allowance: Allowance) -> None:
        """A key that is none leaves nothing behind; of the others the oldest goes."""
        if allowance.until == 0 and not allowance.lock.locked() and self._keys.get(name) is allowance:
            del self._keys[name]
        while len(self._keys) > MOST_KEYS:
            self._keys.popitem(last=False)


def _must_wait(allowance: Allowance) -> Problem:
    now = time.monotonic()
    seconds = max(0.001, allowance.next_at - now)
    return Problem(
        429,
        "rate_limit_exceeded",
        f"this key may make {allowance.limit} requests a minute; ask again in {math.ceil(seconds)} s",
        headers={
            "retry-after": str(math.ceil(seconds)),
            "retry-after-ms": str(math.ceil(1000 * seconds)),
            **allowance.headers(now),
        },
    )
