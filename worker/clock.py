"""Measures the stages of a job."""

import time


class Clock:
    """Laps in milliseconds, by stage.

    Attributes:
        began: When it was started, in nanoseconds since 1970.
        laps: The stages in their order.
        calls: Functions of Postgres that were called, each with when that began and ended, in milliseconds from
            the start.
    """

    def __init__(self) -> None:
        self.began = time.time_ns()
        self._started = self._lap = time.perf_counter()
        self.laps: dict[str, float] = {}
        self.calls: dict[str, tuple[float, float]] = {}

    def lap(self, stage: str) -> None:
        """The time since the lap before belongs to `stage`."""
        now = time.perf_counter()
        self.laps[stage] = _milliseconds(now - self._lap)
        self._lap = now

    def called(self, function: str, since: float) -> None:
        """A function of Postgres was called from `since`, of `time.perf_counter`, until now."""
        self.calls[function] = (_milliseconds(since - self._started), self.total())

    def total(self) -> float:
        return _milliseconds(time.perf_counter() - self._started)


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 3)
