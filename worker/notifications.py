"""Hears from Postgres that jobs wait, beside Redis, and that jobs in hand are over: at the commit, whoever did it."""

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

import structlog

from loradex.db.session import Session, connect
from loradex.errors import LoradexError
from loradex.program import program_name

CHANNEL = "loradex_work"
STOP_CHANNEL = "loradex_stop"
LOOK_EVERY_SECONDS = 0.5
RECONNECT_SECONDS = 1.0
LEAVE_SECONDS = 10.0
"""Longer than it takes to see that nobody answers at an address."""

UNHEARD = (
    "a pooler is between this worker and Postgres and lets no notifications through: Redis wakes "
    "it, or it looks for jobs every LORADEX_SWEEP_SECONDS; name Postgres' own address in LORADEX_LISTEN_URL"
)


class Notifications:
    """Calls `wake` when Postgres says that jobs wait, while it is entered.

    One thread hears and another one wakes: a session that listens and is not read would fill the queue of
    notifications for everybody, and answering may take hours.

    Args:
        url: Where Postgres itself is, not a pooler.
        wake: Answers what waits; what is said meanwhile leads to one more call.
        stop: Set when the worker ends.
        drop: Told the ids of jobs that ended while they ran, or so it is said: any login may say anything.
    """

    def __init__(
        self,
        url: str,
        wake: Callable[[], None],
        stop: threading.Event,
        drop: Callable[[str], None] = lambda _job: None,
    ) -> None:
        self._url = url
        self._application = program_name()
        self._wake = wake
        self._drop = drop
        self._stop = stop
        self._heard = threading.Event()
        self._log = structlog.get_logger("notifications")
        self._threads = [
            threading.Thread(target=run, name=name, daemon=True)
            for run, name in ((self._hear, "notifications"), (self._answer, "notified"))
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._heard.set()
        hears, answers = self._threads
        answers.join()
        # It has nothing in hand, and a frozen server may never let it begin to hear.
        hears.join(LEAVE_SECONDS)

    def _answer(self) -> None:
        while self._heard.wait() and not self._stop.is_set():
            self._heard.clear()
            self._wake()

    def _hear(self) -> None:
        away = False
        while not self._stop.is_set():
            try:
                with connect(self._url, application=self._application) as connection:
                    if connection.pooled:
                        self._log.warning("notifications.not_heard", reason=UNHEARD)
                        return
                    connection.execute(f"listen {CHANNEL}")
                    connection.execute(f"listen {STOP_CHANNEL}")
                    if away:
                        self._log.info("notifications.heard_again")
                    away = False
                    self._listen(connection)
            except Exception as error:  # noqa: BLE001 - without this thread jobs would wait for a sweep
                if not away:
                    self._log.warning("notifications.not_heard", reason=_reason(error))
                away = True
                self._stop.wait(RECONNECT_SECONDS)

    def _listen(self, connection: Session) -> None:
        self._heard.set()  # what was said before nobody listened
        while not self._stop.is_set():
            for notice in connection.notifies(timeout=LOOK_EVERY_SECONDS, stop_after=1):
                if notice.channel == STOP_CHANNEL:
                    self._drop(notice.payload)
                else:
                    self._heard.set()


def _reason(error: Exception) -> str:
    text = str(error) if isinstance(error, LoradexError) else f"{type(error).__name__}: {error}"
    return " ".join(text.split())
