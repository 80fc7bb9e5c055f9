"""A thread that does one thing again and again, whatever happens to it."""

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

import structlog

from loradex.errors import LoradexError


class Repeating:
    """Calls `step` every `seconds` while it is entered; leaving it waits for the call at hand, for `patience` at most.

    What a call raises is logged, and the next one is made all the same: the worker relies on its threads, and
    nobody would notice that one is gone.

    Args:
        name: The thread's name, in the log too.
        stop: Set when it is left; whoever sets it before ends the repetition.
        patience: Seconds. A call that takes longer goes on, and ends with the process.
    """

    def __init__(
        self,
        name: str,
        step: Callable[[], None],
        seconds: float,
        stop: threading.Event | None = None,
        *,
        patience: float | None = None,
    ) -> None:
        self._name = name
        self._step = step
        self._seconds = seconds
        self._stop = stop or threading.Event()
        self._patience = patience
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(self._patience)

    def _run(self) -> None:
        log = structlog.get_logger("repeating")
        while not self._stop.wait(self._seconds):
            try:
                self._step()
            except LoradexError as error:
                log.warning("step.put_off", step=self._name, reason=str(error))
            except Exception:
                log.exception("step.failed", step=self._name)
