"""An ASGI application on a port of its own, in a thread of this process."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.until import until


@contextmanager
def serving(make: Callable[[], Any]) -> Iterator[str]:
    """The address of what `make` makes, in the event loop that serves it."""
    import uvicorn  # noqa: PLC0415 - of the extra `serve`

    from loradex.service.api.patience import Patience  # noqa: PLC0415

    started: list[uvicorn.Server] = []

    async def run() -> None:
        config = uvicorn.Config(
            make(), http=Patience, port=0, access_log=False, log_level="warning", timeout_graceful_shutdown=5
        )
        started.append(uvicorn.Server(config))
        await started[0].serve()

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    until(lambda: started and started[0].started)
    yield f"http://127.0.0.1:{started[0].servers[0].sockets[0].getsockname()[1]}"
    started[0].should_exit = True
    thread.join(30)
    assert not thread.is_alive()
