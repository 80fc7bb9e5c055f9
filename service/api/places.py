"""How many requests are under way here, of all and of each key, so that no tenant holds a whole server."""

import asyncio
import hashlib
from collections import Counter

from loradex.service.api.problem import SHUTTING_DOWN, Problem

MOST = 1_000
SHARE = 3 / 4
"""Of the places that one key may have: hundreds of streams, and never all."""

NOBODY = ""
"""Stands for a key where one is only being asked for."""

PROBES = frozenset({"/livez", "/readyz"})
"""Paths that take no place: whoever watches a server that is full hears that it lives."""

BUSY = Problem(
    429, "server_busy", "too many requests are under way here; ask again", headers={"retry-after": "1"}
)


class Places:
    """What all requests of a server share. Keys are known by their hashes, and only while they have a place."""

    def __init__(self, most: int = MOST) -> None:
        self.most = most
        self.most_of_one = int(most * SHARE)
        self.taken = 0
        self.closed: asyncio.Event | None = None
        self.of_keys: Counter[bytes] = Counter()

    def close(self) -> asyncio.Event:
        """Nobody gets one any more. What happens when all are given back."""
        self.closed = asyncio.Event()
        self.look()
        return self.closed

    def look(self) -> None:
        """Whether all were given back, if somebody waits for that."""
        if self.closed is not None and not self.taken:
            self.closed.set()

    def place(self) -> "Place":
        """What one request will take; nothing yet."""
        return Place(self)


class Place:
    """The place of one request."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._taken = False
        self._key: bytes | None = None

    def take(self) -> None:
        """Take it until it is given back.

        Raises:
            Problem: None is free, or the server ends.
        """
        if self._places.closed is not None:
            raise SHUTTING_DOWN
        if self._places.taken >= self._places.most:
            raise BUSY
        self._places.taken += 1
        self._taken = True

    def count_for(self, key: str) -> None:
        """Count it for this key, of which nobody knows yet whether it is one: all are told the same.

        Raises:
            Problem: As many are under way for this key as may be.
        """
        name, most = hashlib.sha256(key.encode()).digest(), self._places.most_of_one
        if self._places.of_keys[name] >= most:
            if key == NOBODY:
                raise BUSY
            raise Problem(
                429,
                "too_many_concurrent_requests",
                f"one key may have {most} requests under way here; ask again when one of them has ended",
                headers={"retry-after": "1"},
            )
        self._leave_key()
        self._places.of_keys[name] += 1
        self._key = name

    def give_back(self) -> None:
        """Have none any more."""
        self._leave_key()
        if self._taken:
            self._places.taken -= 1
            self._taken = False
            self._places.look()

    def _leave_key(self) -> None:
        if self._key is None:
            return
        self._places.of_keys[self._key] -= 1
        if not self._places.of_keys[self._key]:
            del self._places.of_keys[self._key]
        self._key = None
