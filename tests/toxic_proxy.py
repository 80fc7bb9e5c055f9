"""A TCP proxy that does to replies what bad networks do: it cuts, stalls, changes a byte, or is not there."""

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, Literal

CHUNK = 1 << 14


@dataclass(frozen=True)
class Toxic:
    """What happens to the reply of one connection, after so many of its bytes."""

    kind: Literal["refuse", "cut", "stall", "corrupt"]
    after: int = 0


class ToxicProxy:
    """Forwards connections on a free port of this machine to `target`.

    Each new connection takes the next of the toxics that `poison` was given; without one its bytes go by as they are.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.connections = 0
        self.forwarded = 0
        self._toxics: deque[Toxic | None] = deque()
        self._carrying: set[asyncio.Task[Any]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="toxic proxy", daemon=True)
        self._thread.start()
        self._server = self._do(asyncio.start_server(self._carry, "127.0.0.1", 0))
        self.port: int = self._server.sockets[0].getsockname()[1]

    def _do(self, wanted: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(wanted, self._loop).result(10)

    def poison(self, toxics: Iterable[Toxic | None]) -> None:
        """What the next connections suffer, in place of what was left; None is a clean one."""
        self._toxics = deque(toxics)

    def close(self) -> None:
        self._do(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _stop(self) -> None:
        self._server.close()
        # A task that is cancelled before its first step hangs up nothing, so each has that step first. A connection
        # that was accepted a moment ago begins its task only now.
        await asyncio.sleep(0)
        while carried := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in carried:
                task.cancel()
            await asyncio.wait(carried)
            await asyncio.sleep(0)

    async def _carry(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        # The loop holds tasks weakly: one that waits at a connection without a word would be collected.
        self._carrying.add(task)
        task.add_done_callback(self._carrying.discard)
        self.connections += 1
        toxic = self._toxics.popleft() if self._toxics else None
        try:
            with contextlib.suppress(OSError, asyncio.CancelledError):
                if toxic is None or toxic.kind != "refuse":
                    await self._through(client, to_client, toxic)
        finally:
            to_client.transport.abort()

    async def _through(
        self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter, toxic: Toxic | None
    ) -> None:
        server, to_server = await asyncio.open_connection(*self.target)
        there = asyncio.create_task(self._pump(client, to_server, None))
        try:
            await self._pump(server, to_client, toxic)
            if toxic is not None and toxic.kind == "stall":
                await there  # until whoever waits has enough
        finally:
            to_server.transport.abort()  # before anything is awaited, where a cancellation may come
            there.cancel()
            await asyncio.gather(there, return_exceptions=True)

    async def _pump(
        self, source: asyncio.StreamReader, to: asyncio.StreamWriter, toxic: Toxic | None
    ) -> None:
        seen = 0
        while said := await source.read(CHUNK):
            ill = toxic is not None and seen <= toxic.after < seen + len(said)
            if toxic is not None and ill:
                place = toxic.after - seen
                if toxic.kind != "corrupt":
                    to.write(said[:place])
                    await to.drain()
                    return
                said = said[:place] + bytes([said[place] ^ 1]) + said[place + 1 :]
            seen += len(said)
            self.forwarded += len(said)
            to.write(said)
            await to.drain()
