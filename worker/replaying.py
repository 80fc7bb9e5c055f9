"""Replays answers that somebody asked to have computed once more, in a thread beside the answering."""

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from functools import partial
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import structlog

from loradex.errors import LoradexError
from loradex.library.adapter_files import read_files
from loradex.library.adapter_roots import AdapterRoots
from loradex.worker.aside import Aside
from loradex.worker.comparison import Replay, compared, verdict
from loradex.worker.engine.engine import Engine
from loradex.worker.engine.form import numbers
from loradex.worker.identity import WorkerIdentity
from loradex.worker.isolation import Failure
from loradex.worker.jobs import Jobs
from loradex.worker.repeating import Repeating
from loradex.worker.stored import Stored, hashes_of, require_model

PAUSE_SECONDS = 0.25
"""How long its thread waits at most before it looks whether it is to end."""

LIFE_SECONDS = 2.0
"""How often Postgres is told that this worker is at it, and asked whether somebody still waits."""

PATIENCE_SECONDS = 2.0
"""How long a worker that ends waits for a replay, whose adapters may be fetched for much longer."""


class Replaying:
    """Takes one answer at a time from Postgres while it is entered, and leaves there how its replay compares.

    What is lost with this worker is taken by another one, or asked for again.

    Args:
        jobs: The connection that it asks over.
        engine: Of this worker; only the thread that computes steps it.
        aside: The way to that thread.
        adapters: Where adapters' files are.
        identity: Who replays.
        stop: Set when the worker ends.
    """

    def __init__(
        self,
        jobs: Jobs,
        *,
        engine: Engine,
        aside: Aside,
        adapters: AdapterRoots,
        identity: WorkerIdentity,
        stop: threading.Event,
    ) -> None:
        self._jobs = jobs
        self._engine = engine
        self._aside = aside
        self._adapters = adapters
        self._identity = identity
        self._stop = stop
        self._rung = threading.Event()
        self._log = structlog.get_logger("replaying")
        self._at: UUID | None = None
        self._running = Repeating("replaying", self._step, 0, stop, patience=PATIENCE_SECONDS)

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
        if (request := self._at) is not None:
            with suppress(LoradexError):
                self._jobs.release_replay(request)

    def _step(self) -> None:
        if not self._rung.wait(PAUSE_SECONDS):
            return
        self._rung.clear()
        computes_in = numbers(self._engine.dtype, self._engine.quantization)
        while not self._stop.is_set() and (claimed := self._jobs.claim_replay(computes_in)) is not None:
            request, answer = claimed
            try:
                with self._kept(request) as wanted:
                    told = self._replayed(request, answer, wanted)
            except LoradexError as error:
                self._refuse(request, Failure.of(error))
            except Exception:  # noqa: BLE001 - whoever waits is told, and the next one is replayed
                self._log.exception("replay.failed", request=str(request))
                self._refuse(
                    request, Failure("internal", "it could not be replayed; the worker's log says why")
                )
            else:
                if told is not None:
                    self._jobs.give_replay(request, told)
                    self._log.info("answer.replayed", answer=str(answer), same=told["same"])

    def _refuse(self, request: UUID, failure: Failure) -> None:
        self._log.warning("replay.refused", request=str(request), code=failure.code)
        self._jobs.refuse_replay(request, failure.code, failure.message)

    @contextmanager
    def _kept(self, request: UUID) -> Iterator[Callable[[], bool]]:
        """Tells Postgres that this worker is at it, whatever takes long; gives whether to go on."""
        unwanted, done = threading.Event(), threading.Event()

        def tell() -> None:
            if not self._jobs.keep_replay(request):
                unwanted.set()

        self._at = request
        try:
            with Repeating("replay", tell, LIFE_SECONDS, done):
                yield lambda: not unwanted.is_set() and not self._stop.is_set()
        finally:
            self._at = None

    def _replayed(self, request: UUID, answer: UUID, wanted: Callable[[], bool]) -> Mapping[str, Any] | None:
        """What came of it; None where nobody waits for it any more, or this worker ends."""
        document = self._jobs.stored(answer)
        require_model(document, self._engine.files)
        stored = Stored.of(
            document, self._adapters, self._jobs.places(document["base_model"], hashes_of(document))
        )
        # The engine may have them in memory, where they are what they were: files that changed since are told.
        for sha256, directory in stored.adapters.items():
            read_files(directory, expected_sha256=sha256)
        self._engine.fetch(stored.adapters, stored.row)
        start = time.perf_counter()
        result = self._aside.answer(stored.row, stored.adapters, wanted)
        if result is None:
            if self._stop.is_set():
                self._jobs.release_replay(request)
            return None
        if isinstance(result, Failure):
            self._refuse(request, result)
            return None

        def margin(written: Sequence[int], one: int, other: int) -> float | None:
            return self._aside.when_idle(partial(self._engine.margin, stored.row, written, one, other))

        return self._told(compared(self._engine, stored, result, margin), time.perf_counter() - start)

    def _told(self, one: Replay, seconds: float) -> Mapping[str, Any]:
        """The comparison as JSON has it, which knows no infinity: a difference without a figure is null."""
        figures = {
            name: None if isinstance(value, float) and math.isinf(value) else value
            for name, value in asdict(one).items()
        }
        identity = self._identity
        return {
            **figures,
            "verdict": verdict(one),
            "replayed_by": {
                "worker": identity.worker,
                "base_model": identity.base_model,
                "base_model_revision": identity.base_model_revision,
                "device": identity.device,
                "dtype": identity.dtype,
                "attention": identity.attention,
                "quantization": identity.quantization,
                "device_map": identity.device_map,
                "versions": dict(identity.versions),
                "milliseconds": round(1000 * seconds, 3),
            },
        }
