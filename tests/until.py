"""Waiting for something to come true, with an end."""

import asyncio
import time
from collections.abc import Callable

SECONDS = 30.0
LOOK_EVERY_SECONDS = 0.02


def until(true: Callable[[], object], seconds: float = SECONDS) -> None:
    """Return when `true()` is; fail when it is not within so many seconds."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(LOOK_EVERY_SECONDS)


async def until_async(true: Callable[[], object]) -> None:
    """`until`, for the tasks of an event loop."""
    end = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < end
        await asyncio.sleep(LOOK_EVERY_SECONDS)
