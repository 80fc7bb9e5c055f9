"""Connections that are open and ask nothing, or begin a request and never end its head, are closed."""

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.auto import AutoHTTPProtocol

HEAD_SECONDS: Final = 10.0
"""In which the head of a request must have come; one that is under way is bounded elsewhere."""

MOST_BYTES: Final = 64 << 10
"""Of a head, and of what else is no body."""

TOO_LARGE: Final = f"The head of a request may have {MOST_BYTES} bytes."
HTTPTOOLS: Final = hasattr(AutoHTTPProtocol, "on_body")
"""Whether httptools parses, which the extra `serve` has; without it uvicorn takes h11."""


class Patience(AutoHTTPProtocol):  # type: ignore[misc]
    """uvicorn's protocol, which by itself waits for the head of a request for ever.

    So nobody without a key holds all the connections that the process may have. With httptools it would also keep as
    much of a head, or of what follows a body, as anybody sends; h11 has a limit of its own.
    """

    cycle: Any
    transport: Any

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        super().connection_made(transport)
        self._apart = 0
        self._looked_at = object()
        self._look()

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

    def on_message_complete(self) -> None:
        """Called by httptools."""
        self._apart = 0
        super().on_message_complete()

    @property
    def _idle(self) -> bool:
        return self.cycle is None or bool(self.cycle.response_complete)

    def _look(self) -> None:
        """Close it if nothing was under way at the last look, and nothing has come since."""
        idle = self._idle
        if idle and self._looked_at is self.cycle:
            self.transport.close()
            return
        self._looked_at = self.cycle if idle else object()
        if not self.transport.is_closing():
            asyncio.get_running_loop().call_later(HEAD_SECONDS, self._look)
