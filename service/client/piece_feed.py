"""`AsyncPieceFeed` for threads: it runs on an event loop of its own."""

import asyncio
import selectors
import threading
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

from loradex.forks import let_go, renew_after_fork
from loradex.service.client.async_piece_feed import AsyncPieceFeed, Deliver


class PieceFeed:
    """A thread that lives from the first stream to `close`.

    Args:
        url: Where Redis is.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._feed: AsyncPieceFeed | None = None
        self._over: asyncio.Event | None = None
        self._thread: threading.Thread | None = None
        # All sockets of the loop, which a child has to leave alone.
        self._selector: selectors.BaseSelector | None = None
        self._parents: list[object] = []
        renew_after_fork(self)

    def listen(self, pieces_key: UUID, deliver: Deliver) -> None:
        """As of `AsyncPieceFeed`; `deliver` is called by the thread."""
        self._begin()
        self._say("listen", pieces_key, deliver)

    def leave(self, pieces_key: UUID, deliver: Deliver) -> None:
        """Hand `deliver` nothing more, or only what is being handed now."""
        self._say("leave", pieces_key, deliver)

    def close(self) -> None:
        """Give the connections back."""
        with self._lock:
            thread, self._thread = self._thread, None
            if thread is not None and self._loop is not None and self._over is not None:
                self._loop.call_soon_threadsafe(self._over.set)
        if thread is not None:
            thread.join()

    def renew(self) -> None:
        """Be without a thread: it is the parent's, with its connections."""
        selector = self._selector
        # What was going on there is not taken apart here: that would be reported as a fault.
        self._parents += [self._loop, self._feed]
        self._lock = threading.Lock()
        self._loop = self._feed = self._over = self._thread = self._selector = None
        if selector is not None:
            let_go([key.fd for key in (selector.get_map() or {}).values()])

    def _begin(self) -> None:
        with self._lock:
            if self._thread is None:
                ready = threading.Event()
                self._selector = selectors.DefaultSelector()
                loop = partial(asyncio.SelectorEventLoop, self._selector)
                self._thread = threading.Thread(
                    target=self._live, args=(loop, ready), name="loradex-pieces", daemon=True
                )
                self._thread.start()
                ready.wait()

    def _say(self, word: str, *arguments: Any) -> None:
        with self._lock:
            if self._thread is not None and self._loop is not None:
                self._loop.call_soon_threadsafe(getattr(self._feed, word), *arguments)

    def _live(self, loop: Callable[[], asyncio.AbstractEventLoop], ready: threading.Event) -> None:
        with asyncio.Runner(loop_factory=loop) as runner:
            runner.run(self._run(ready))

    async def _run(self, ready: threading.Event) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        self._feed = AsyncPieceFeed(self._url)
        ready.set()
        await self._over.wait()
        await self._feed.close()
