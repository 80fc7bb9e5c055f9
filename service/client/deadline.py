"""The moment at which a wait is over."""

import time


class Deadline:
    """`seconds` from now on; None is never."""

    def __init__(self, seconds: float | None) -> None:
        self._end = None if seconds is None else time.monotonic() + seconds

    def left(self) -> float | None:
        """Seconds that are left, 0 when it is over; None for ever."""
        return None if self._end is None else max(0.0, self._end - time.monotonic())
