"""A row that is computed beside those of the jobs, for another thread, and gives way to them."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from loradex.errors import DeviceBrokenError
from loradex.worker.engine.protocol import AnswerEngine, Event, Failed, Finished, Ticket
from loradex.worker.engine.rows import Row, RowResult
from loradex.worker.isolation import Failure

LOOK_SECONDS = 0.25
"""How often whoever waits for a row looks whether it is still wanted."""

AGAIN_SECONDS = 1.0
"""How long a row that gave way waits at least before it begins anew."""

IDLE_SECONDS = 5.0
"""How long is waited for a moment without rows."""


@dataclass(eq=False)
class _Guest:
    """The row, which is its own ticket, and what came of it."""

    row: Row
    adapters: Mapping[str, Path]
    done: threading.Event = field(default_factory=threading.Event)
    result: RowResult | Failure | None = None

    def end(self, result: RowResult | Failure) -> None:
        self.result = result
        self.done.set()


@dataclass(eq=False)
class _Errand:
    """Something short that only the thread that computes may do."""

    work: Callable[[], float]
    done: threading.Event = field(default_factory=threading.Event)
    result: float | None = None


def let_go(engine: AnswerEngine, ticket: Ticket) -> None:
    """Has the engine let a row go. Where that breaks, whoever has the row is rid of it all the same."""
    try:
        engine.abort(ticket)
    except Exception:  # noqa: BLE001 - whatever it is, the job ends
        structlog.get_logger("answering").exception("answering.not_let_go")


class Aside:
    """Hands rows, one at a time, from another thread to the one that computes. Jobs go first.

    A row begins when no job waits for the engine. If one has to wait while it is computed, the row is let go, and
    begins anew later. `answer` and `when_idle` are for the other thread, the rest is for the one that computes.
    """

    def __init__(self) -> None:
        self._guest: _Guest | None = None
        self._inside: _Guest | None = None
        self._errand: _Errand | None = None
        self._not_before = 0.0

    def answer(
        self, row: Row, adapters: Mapping[str, Path], wanted: Callable[[], bool]
    ) -> RowResult | Failure | None:
        """What the row is answered; None where it is not `wanted` any more."""
        guest = self._guest = _Guest(row, adapters)
        try:
            while wanted():
                if guest.done.wait(LOOK_SECONDS):
                    return guest.result
            return None
        finally:
            self._guest = None

    def when_idle(self, work: Callable[[], float]) -> float | None:
        """What `work` gives, done between rows; None where there was no such moment, or it broke."""
        errand = self._errand = _Errand(work)
        errand.done.wait(IDLE_SECONDS)
        self._errand = None
        return errand.result

    @property
    def waits(self) -> bool:
        """Whether a row was handed in whose answer is not there yet."""
        return self._guest is not None and not self._guest.done.is_set()

    @property
    def computed(self) -> bool:
        """Whether the engine has a row of it in hand."""
        return self._inside is not None

    def before_step(self, engine: AnswerEngine, *, idle: bool, place: bool) -> None:
        """Begins what waits, if there is a free `place`, and lets go what nobody waits for.

        `idle` says that no job is computed.
        """
        guest = self._guest
        if self._inside is not None and self._inside is not guest:
            self._let_go(engine)
        if self._inside is None and idle:
            self._run_errand()
        if guest is None or not self.waits or self._inside is not None or not place:
            return
        if time.monotonic() < self._not_before or engine.usage().waiting:
            return
        try:
            engine.add(guest, guest.row, guest.adapters)
        except Exception as error:
            guest.end(Failure.of(error))
            if isinstance(error, DeviceBrokenError):
                raise
        else:
            self._inside = guest

    def heard(self, event: Event) -> bool:
        """Whether this was told of its row."""
        inside = self._inside
        if inside is None or event.ticket is not inside:
            return False
        if isinstance(event, Finished):
            self._end(event.result)
        elif isinstance(event, Failed):
            self._end(event.failure)
        return True

    def after_step(self, engine: AnswerEngine) -> None:
        """Gives way where a job waits. Its own row may wait: for room, or to be computed alone after it broke."""
        inside = self._inside
        if inside is not None and any(ticket is not inside for ticket in engine.usage().waits):
            self.give_way(engine)

    def give_way(self, engine: AnswerEngine) -> None:
        """Lets its row go, which begins anew after a while."""
        if self._inside is not None:
            self._let_go(engine)
            self._not_before = time.monotonic() + AGAIN_SECONDS

    def broke(self, engine: AnswerEngine, error: Exception) -> None:
        """The engine forgot its rows."""
        if self._inside is not None:
            let_go(engine, self._inside)
            self._end(Failure.of(error))

    def _end(self, result: RowResult | Failure) -> None:
        inside, self._inside = self._inside, None
        if inside is not None:
            inside.end(result)

    def _let_go(self, engine: AnswerEngine) -> None:
        inside, self._inside = self._inside, None
        if inside is not None:
            let_go(engine, inside)

    def _run_errand(self) -> None:
        errand, self._errand = self._errand, None
        if errand is None:
            return
        try:
            errand.result = errand.work()
        except Exception:  # noqa: BLE001 - a figure that is missing is no reason to lose what is known
            errand.result = None
        errand.done.set()
