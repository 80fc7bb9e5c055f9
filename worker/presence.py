"""Tells Postgres that the worker lives and what it can do, so that operators and waiting callers know."""

from contextlib import suppress
from types import TracebackType
from typing import Self

import structlog

from loradex.errors import LoradexError
from loradex.worker.jobs import Abilities, Jobs
from loradex.worker.repeating import Repeating

SIGN_OF_LIFE_SECONDS = 5.0
"""A fourth of the setting `worker_silence_seconds`, after which a silent worker counts as gone; half of its least
value, so that one sign that comes late does no harm."""


class Presence:
    """Announced while it is entered; whatever goes wrong with that keeps no job from being answered."""

    def __init__(self, jobs: Jobs, abilities: Abilities) -> None:
        self._jobs = jobs
        self._abilities = abilities
        self._repeating = Repeating("presence", self._announce, SIGN_OF_LIFE_SECONDS)

    def __enter__(self) -> Self:
        try:
            self._announce()
        except LoradexError as error:
            structlog.get_logger("presence").warning("presence.not_announced", reason=str(error))
        self._repeating.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._repeating.__exit__(kind, error, trace)
        # Where Postgres is away, silence says the same.
        with suppress(LoradexError):
            self._jobs.withdraw()

    def _announce(self) -> None:
        self._jobs.announce(self._abilities)
