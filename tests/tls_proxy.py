"""A TLS end before a server that has none: Valkey's wheel is built without it."""

import asyncio
import contextlib
import ssl
import threading
from types import TracebackType
from typing import Self

CHUNK = 1 << 16


class TlsProxy:
    """Listens with TLS on a free port of 127.0.0.1 and hands the plain bytes to `target`.

    `connections` counts the handshakes that went well.
    """

    def __init__(self, target: tuple[str, int], context: ssl.SSLContext) -> None:
        self._target = target
        self._context = context
        self._started = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="tls", daemon=True)
        self.port = 0
        self.connections = 0

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        self._loop.set_exception_handler(lambda *_: None)  # a handshake that fails is the caller's to report
        server = await asyncio.start_server(self._carry, "127.0.0.1", 0, ssl=self._context)
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._stop.wait()
        server.close()
        # A handshake may end meanwhile and begin another task. One that is cancelled before its first step hangs up
        # nothing, so each has that step first.
        await asyncio.sleep(0)
        while carried := asyncio.all_tasks() - {asyncio.current_task()}:
            for one in carried:
                one.cancel()
            await asyncio.wait(carried)
            await asyncio.sleep(0)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        ends = [writer]
        try:
            with contextlib.suppress(OSError, asyncio.CancelledError):
                # Nobody may listen there: then this end is hung up too.
                there, back = await asyncio.open_connection(*self._target)
                ends.append(back)
                await asyncio.gather(_pump(reader, back), _pump(there, writer))
        finally:
            for one in ends:
                one.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while said := await reader.read(CHUNK):
        writer.write(said)
        await writer.drain()
    writer.close()
