"""Connections that are open and ask nothing, or begin a request and never end its head, are closed."""

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.auto import AutoHTTPProtocol

HEAD_SECONDS: Final = 10.0
"""In which the head of a request must have come; one that is under way is bounded elsewhere."""


class Patience(AutoHTTPProtocol):  # type: ignore[misc]
    """uvicorn's protocol, which by itself waits for the head of a request for ever.

    So nobody without a key holds all the connections that the process may have.
    """

    cycle: Any
    transport: Any

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        super().connection_made(transport)
        self._looked_at = object()
        self._look()

    def _look(self) -> None:
        """Close it if nothing was under way at the last look, and nothing has come since."""
        idle = self.cycle is None or self.cycle.response_complete
        if idle and self._looked_at is self.cycle:
            self.transport.close()
            return
        self._looked_at = self.cycle if idle else object()
        if not self.transport.is_closing():
            asyncio.get_running_loop().call_later(HEAD_SECONDS, self._look)
