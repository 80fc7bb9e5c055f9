"""Hears pieces of texts from Redis: one task and two connections for all who listen."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID

from loradex.pieces import MOST_MESSAGES, Message, message_of, place_of
from loradex.wakeup import advice_on, reason_of, redis_url

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from redis.asyncio.client import PubSub

SECONDS = 2.0
RECONNECT_SECONDS = 0.5
CLOSE_SECONDS = 0.02
READ_AT_ONCE = 256
"""Messages of one text."""

Deliver = Callable[[Sequence[Message]], object]


@dataclass
class _Place:
    """A stream in Redis: who listens, the last message that they have, and how many were read."""

    listeners: list[Deliver] = field(default_factory=list)
    last: bytes = b"0"
    read: int = 0

    @property
    def spent(self) -> bool:
        """More was read than a worker writes: somebody else does, and nobody follows."""
        return self.read > 2 * MOST_MESSAGES

    def take(self, entries: Sequence[tuple[bytes, Mapping[bytes, bytes]]]) -> None:
        self.last = entries[-1][0]
        self.read += len(entries)
        messages = [message for _, fields in entries if (message := message_of(fields)) is not None]
        for deliver in list(self.listeners):
            deliver(messages)


class AsyncPieceFeed:
    """Reads the stream of each text whenever its channel rings, and from the beginning when somebody comes.

    Nothing that Redis does reaches who listens: they hear less, or nothing. It is tried again while somebody listens.

    Args:
        url: Where Redis is. Nothing is connected before somebody listens.
    """

    def __init__(self, url: str) -> None:
        self._url = redis_url(url)
        self._places: dict[str, _Place] = {}
        self._fresh: set[str] = set()
        self._changed = asyncio.Event()
        self._rung: set[str] = set()
        self._ringing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._away = False
        self._closed = False
        self._log = logging.getLogger("loradex.client")

    def listen(self, pieces_key: UUID, deliver: Deliver) -> None:
        """Hand `deliver` the messages of a text, from the first that is kept; some may come twice."""
        name = place_of(pieces_key)
        place = self._places.setdefault(name, _Place())
        place.listeners.append(deliver)
        # Whoever listens already hears again what it knows.
        place.last, place.read = b"0", 0
        self._fresh.add(name)
        self._changed.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="loradex-pieces")

    def leave(self, pieces_key: UUID, deliver: Deliver) -> None:
        """Hand `deliver` nothing more."""
        name = place_of(pieces_key)
        place = self._places.get(name)
        if place is None or deliver not in place.listeners:
            return
        place.listeners.remove(deliver)
        if not place.listeners:
            del self._places[name]
            self._fresh.discard(name)
        self._changed.set()

    async def close(self) -> None:
        """Give the connections back; nobody hears anything any more."""
        self._closed = True
        self._places.clear()
        while self._task is not None and not self._task.done():
            # Once may not be enough: while it connects, redis-py takes a cancellation for its own.
            self._task.cancel()
            await asyncio.wait([self._task], timeout=CLOSE_SECONDS)

    async def _run(self) -> None:
        while not self._closed:
            while not self._places:
                self._changed.clear()
                await self._changed.wait()
            try:
                redis = self._redis()
                async with redis, redis.pubsub() as bells:
                    await bells.subscribe(*self._places)
                    await _until_one_fails(
                        self._keep_subscribed(bells), self._hear(bells), self._keep_reading(redis)
                    )
            except Exception as error:  # noqa: BLE001 - whatever Redis or a library below raises, it is tried again
                if self._closed:
                    return
                if not self._away:
                    self._log.warning(
                        "pieces of answers are not heard (%s), the answers are; %s",
                        reason_of(error),
                        advice_on(error),
                    )
                self._away = True
            await asyncio.sleep(RECONNECT_SECONDS)

    def _redis(self) -> "Redis":
        # It takes a while to import, and few listen.
        from redis.asyncio import Redis  # noqa: PLC0415
        from redis.asyncio.retry import Retry  # noqa: PLC0415
        from redis.backoff import NoBackoff  # noqa: PLC0415

        return Redis.from_url(
            self._url,
            socket_timeout=SECONDS,
            socket_connect_timeout=SECONDS,
            socket_keepalive=True,
            retry=Retry(NoBackoff(), 0),
        )

    async def _keep_subscribed(self, bells: "PubSub") -> None:
        """To the places where somebody listens. Where somebody came it is told once more that we are subscribed."""
        subscribed = set[str]()
        while True:
            self._changed.clear()
            wanted, fresh = set(self._places), self._fresh
            self._fresh = set()
            if came := (wanted - subscribed) | fresh:
                await bells.subscribe(*came)
            if left := subscribed - wanted:
                await bells.unsubscribe(*left)
            subscribed = wanted
            await self._changed.wait()

    async def _hear(self, bells: "PubSub") -> None:
        while True:
            said = await bells.get_message(timeout=None)
            if said is not None and said["type"] in {"subscribe", "message"}:
                self._rung.add(said["channel"].decode())
                self._ringing.set()

    async def _keep_reading(self, redis: "Redis") -> None:
        while True:
            await self._ringing.wait()
            self._ringing.clear()
            rung, self._rung = self._rung, set()
            while rung := await self._read(redis, rung):
                pass
            self._away = False

    async def _read(self, redis: "Redis", rung: Iterable[str]) -> set[str]:
        """Read on at these places; those where there may be more."""
        places = {
            name: place for name in rung if (place := self._places.get(name)) is not None and not place.spent
        }
        if not places:
            return set()
        known: dict[Any, Any] = {name: place.last for name, place in places.items()}
        more = set[str]()
        found: Any = await redis.xread(known, count=READ_AT_ONCE)
        for raw, entries in found:
            name = raw.decode()
            # Whoever came meanwhile hears from the beginning: that place is read anew.
            if entries and name in places and places[name].last == known[name]:
                places[name].take(entries)
                more.update({name} if len(entries) == READ_AT_ONCE else ())
        return more


async def _until_one_fails(*work: Any) -> None:
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
