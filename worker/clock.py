"""Measures the stages of a job."""

import time


class Clock:
    """Laps in milliseconds, by stage."""

    def __init__(self) -> None:
        self._started = self._lap = time.perf_counter()
        self.laps: dict[str, float] = {}

    def lap(self, stage: str) -> None:
        """The time since the lap before belongs to `stage`."""
        now = time.perf_counter()
        self.laps[stage] = _milliseconds(now - self._lap)
        self._lap = now

    def total(self) -> float:
        return _milliseconds(time.perf_counter() - self._started)


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 3)
