"""Connections that ask nothing, that never end the head of a request, or that take nothing of a reply, are closed."""

import array
import asyncio
import fcntl
import termios
import time
from contextlib import suppress
from typing import Any, Final

from uvicorn.protocols.http.auto import AutoHTTPProtocol

HEAD_SECONDS: Final = 10.0
"""In which the head of a request must have come; one that is under way is bounded elsewhere."""

SEND_SECONDS: Final = 60.0
"""In which whoever asked must take something of a reply that waits to be sent."""

MOST_BYTES: Final = 64 << 10
"""Of a head, and of what else is no body."""

TOO_LARGE: Final = f"The head of a request may have {MOST_BYTES} bytes."
HTTPTOOLS: Final = hasattr(AutoHTTPProtocol, "on_body")
"""Whether httptools parses, which the extra `serve` has; without it uvicorn takes h11."""


class Patience(AutoHTTPProtocol):  # type: ignore[misc]
    """uvicorn's protocol, which by itself waits for ever: for the head of a request, and until a reply is taken.

    So nobody without a key holds all the connections that the process may have, and nobody holds a place and a job by
    not reading. A stream that is quiet has nothing that waits to be sent, and goes on. With httptools it would also
    keep as much of a head, or of what follows a body, as anybody sends; h11 has a limit of its own.
    """

    cycle: Any
    flow: Any
    parser: Any
    transport: Any

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        super().connection_made(transport)
        if HTTPTOOLS:
            self.parser = _parser(self)
        self._apart = 0
        self._looked_at = object()
        self._waiting, self._taken_at = 0, 0.0
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio."""
        self._next_look.cancel()
        super().connection_lost(exc)

    def resume_writing(self) -> None:
        """Called by asyncio, once most of what waited was taken."""
        self._waiting = 0
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        self._apart += len(data)
        super().data_received(data)
        if self._apart > MOST_BYTES and HTTPTOOLS and not self.transport.is_closing():
            if self._idle:
                self.send_400_response(TOO_LARGE)
            self.transport.close()

    def on_body(self, body: bytes) -> None:
        """Called by httptools."""
        self._apart = 0
        super().on_body(body)

    def on_headers_complete(self) -> None:
        """Called by httptools."""
        if not self.parser.offered:
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Called by httptools."""
        if not self.parser.offered:
            self._apart = 0
            super().on_message_complete()

    @property
    def _idle(self) -> bool:
        return self.cycle is None or bool(self.cycle.response_complete)

    def _look(self) -> None:
        """Cut it off if nobody reads; close it if nothing was under way at the last look, and nothing came since."""
        if self._unread():
            # Closing it would wait until all was read. The request hears that its client has left.
            self.transport.abort()
            return
        idle = self._idle
        if idle and self._looked_at is self.cycle:
            self.transport.close()
        self._looked_at = self.cycle if idle else object()
        self._next_look = asyncio.get_running_loop().call_later(HEAD_SECONDS, self._look)

    def _unread(self) -> bool:
        """Whether something waits to be sent, and nothing of it was taken for `SEND_SECONDS`.

        It is looked at only while nothing is added to it.
        """
        settled = self.flow.write_paused or self._idle or self.transport.is_closing()
        waiting, now = self._on_the_way() if settled else 0, time.monotonic()
        if waiting == 0 or not 0 < self._waiting <= waiting:
            self._taken_at = now
        self._waiting = waiting
        return now - self._taken_at >= SEND_SECONDS

    def _on_the_way(self) -> int:
        """Bytes that wait here, or in the kernel until the other side has said that it has them.

        The kernel takes more only when a third of what it holds has gone, which may be megabytes.
        """
        held = array.array("i", [0])
        with suppress(OSError, ValueError):  # where a kernel does not tell
            fcntl.ioctl(self.transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, held)
        return int(self.transport.get_write_buffer_size() + held[0])


def _parser(protocol: Patience) -> Any:
    from loradex.service.api.offers import Parser  # noqa: PLC0415 - where httptools is

    return Parser(protocol)
