"""Makes the vectors that somebody asked for by themselves, in a thread beside the answering."""

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

import structlog

from loradex.errors import DeviceBrokenError, InvalidArgumentError
from loradex.worker.engine.embed import Encoder
from loradex.worker.jobs import Jobs
from loradex.worker.repeating import Repeating

PAUSE_SECONDS = 0.25
"""How long its thread waits at most before it looks whether it is to end."""


class Embedding:
    """Takes texts from Postgres while it is entered, and leaves their vectors there. What is lost is asked for again.

    Args:
        jobs: The connection that it asks over.
        encoder: Reads the texts as it reads questions.
        stop: Set when the worker ends.
        lost: Called where the device computes nothing more.
    """

    def __init__(
        self,
        jobs: Jobs,
        encoder: Encoder,
        stop: threading.Event,
        lost: Callable[[DeviceBrokenError], None],
    ) -> None:
        self._jobs = jobs
        self._encoder = encoder
        self._stop = stop
        self._lost = lost
        self._rung = threading.Event()
        self._log = structlog.get_logger("embedding")
        self._running = Repeating("embedding", self._step, 0, stop)

    def ring(self) -> None:
        """Something may wait. For any thread; returns immediately."""
        self._rung.set()

    def __enter__(self) -> Self:
        self._running.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.__exit__(kind, error, trace)

    def _step(self) -> None:
        if not self._rung.wait(PAUSE_SECONDS):
            return
        self._rung.clear()
        while not self._stop.is_set() and (asked := self._jobs.claim_texts()) is not None:
            request, texts = asked
            try:
                read = self._encoder.embed_questions(texts)
            except InvalidArgumentError as refusal:
                self._jobs.refuse_texts(request, str(refusal))
            except DeviceBrokenError as error:
                self._lost(error)
                # By another worker they would be read again: they may be the cause.
                self._jobs.refuse_texts(request, "the encoder's device broke; ask again")
            except Exception:  # noqa: BLE001 - whoever waits is told, and the next texts are read
                self._log.exception("embedding.failed", request=str(request))
                self._jobs.refuse_texts(request, "the encoder could not read this; the worker's log says why")
            else:
                self._jobs.give_vectors(
                    request, [one.vector for one in read], sum(one.tokens for one in read)
                )
