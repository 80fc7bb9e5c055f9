"""The moment at which a wait is over."""

import math
import threading
import time

from loradex.errors import InvalidArgumentError


class Deadline:
    """`seconds` from now on; None is never, and so is infinity. Raises as `require_seconds` does."""

    def __init__(self, seconds: float | None) -> None:
        require_seconds(seconds)
        # A lock waits for less than a float can say.
        endless = seconds is None or seconds > threading.TIMEOUT_MAX
        self._end = None if endless or seconds is None else time.monotonic() + seconds

    def left(self) -> float | None:
        """Seconds that are left, 0 when it is over; None for ever."""
        return None if self._end is None else max(0.0, self._end - time.monotonic())


def require_seconds(timeout: float | None) -> None:
    """Raises `InvalidArgumentError` for what is no time: whoever waits finds out before anything is handed in."""
    if timeout is None:
        return
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or math.isnan(timeout):
        raise InvalidArgumentError(
            f"timeout: must be a number of seconds, or None to wait for ever: {timeout!r}"
        )
