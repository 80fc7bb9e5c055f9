"""Looks for jobs whose bell was lost, so that Redis may lose everything."""

import threading
from types import TracebackType
from typing import Self

from loradex.worker.batch import Answering


class Sweep:
    """A thread that rings this worker's own bell every `seconds`; leaving it waits for its batch.

    It needs no Redis: with the doorbell dead, answers come later by at most `seconds`, and come.
    """

    def __init__(self, answering: Answering, seconds: float, stop: threading.Event) -> None:
        self._answering = answering
        self._seconds = seconds
        self._stop = stop
        self._thread = threading.Thread(target=self._run, name="sweep", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._seconds):
            self._answering.bell(wait=False)
