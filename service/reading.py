"""What is read of Postgres for those who cannot wait long: by a thread of its own; a call that is late is ended."""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from loradex.db.pool import Pool
from loradex.db.session import Session
from loradex.errors import LoradexError

Read = TypeVar("Read")


class Reading(Generic[Read]):
    """One call, for however many want to know what came of it.

    Args:
        pool: Lends the connection. It lends none any more once a call was late.
        read: What is asked over it.
        seconds: How long it may take from now.
    """

    def __init__(self, pool: Pool, read: Callable[[Session], Read], seconds: float) -> None:
        self._pool = pool
        self._read = read
        self._until = time.monotonic() + seconds
        self._over = threading.Event()
        self._ended = 0.0
        self._late = False
        self._result: Read | None = None
        threading.Thread(target=self._run, name="reading", daemon=True).start()

    @property
    def result(self) -> Read | None:
        """What was read; None if Postgres did not give it in time, after which its call is ended."""
        if self._over.wait(max(0.0, self._until - time.monotonic())):
            return self._result
        # A server that is frozen takes what it is told and never answers; no time limit of its own helps.
        self._late = True
        self._pool.hang_up(0.0)
        return None

    @property
    def has_failed(self) -> bool:
        """Whether it brought nothing, or its pool may lend no more."""
        return self._late or self.result is None

    def is_older(self, seconds: float) -> bool:
        """Whether it ended so long ago; one that goes on has not."""
        return self._over.is_set() and self._ended + seconds < time.monotonic()

    def _run(self) -> None:
        try:
            with self._pool.session() as connection:
                self._result = self._read(connection)
        except LoradexError:
            pass
        finally:
            self._ended = time.monotonic()
            self._over.set()
