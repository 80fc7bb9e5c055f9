"""A batch of jobs on its one way through the worker: claim, embed, route, prepare, compose, record."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TypeVar

import structlog

from loradex.errors import LeaseLostError, LoradexError, RoutingLostError
from loradex.library.adapter_roots import AdapterRoots
from loradex.worker.answers import answer_document
from loradex.worker.clock import Clock
from loradex.worker.engine.embed import EmbeddedQuestion, Encoder
from loradex.worker.engine.engine import Engine
from loradex.worker.engine.questions import UNWANTED
from loradex.worker.engine.recipe import Recipe
from loradex.worker.engine.rows import Row, RowResult
from loradex.worker.identity import WorkerIdentity
from loradex.worker.isolation import OUTAGES, REFUSED, Failure, run_isolated
from loradex.worker.jobs import Job, Jobs, Routing
from loradex.worker.leases import Leases
from loradex.worker.observer import Observer
from loradex.worker.packing import pack_by_length
from loradex.worker.pieces import Pieces


@dataclass(frozen=True)
class Limits:
    """How big a batch gets: jobs, tokens in one forward pass, seconds it waits for company."""

    rows: int
    tokens: int
    linger: float


@dataclass(frozen=True)
class Claimed:
    job: Job


@dataclass(frozen=True)
class Embedded(Claimed):
    question: EmbeddedQuestion


@dataclass(frozen=True)
class Routed(Embedded):
    routing: Routing


@dataclass(frozen=True)
class Prepared(Routed):
    recipe: Recipe
    row: Row
    tokens: int


@dataclass(frozen=True)
class Answered(Prepared):
    result: RowResult


Before = TypeVar("Before", bound=Claimed)
After = TypeVar("After", bound=Claimed)


class Answering:
    """Answers what waits in Postgres; holds nothing that cannot be lost.

    One thread at a time answers: the bell's and the sweep's calls take turns.
    """

    def __init__(
        self,
        *,
        jobs: Jobs,
        leases: Leases,
        engine: Engine,
        encoder: Encoder,
        adapters: AdapterRoots,
        identity: WorkerIdentity,
        pieces: Pieces,
        limits: Limits,
        stop: threading.Event,
        observer: Observer,
    ) -> None:
        self._jobs = jobs
        self._leases = leases
        self._engine = engine
        self._encoder = encoder
        self._adapters = adapters
        self._identity = identity
        self._pieces = pieces
        self._limits = limits
        self._stop = stop
        self._observer = observer
        self._turn = threading.Lock()
        self._log = structlog.get_logger("batch")

    def answer_waiting_jobs(self, *, block: bool = True) -> None:
        """Answer batch after batch until nothing waits or the worker is told to stop.

        Unless it may `block`, it does nothing while another thread answers: that one sees everything that
        waits now. What goes wrong is logged, not raised: the jobs are in Postgres, and the next bell or sweep
        finds them.
        """
        if not self._turn.acquire(blocking=block):
            return
        try:
            self._stop.wait(self._limits.linger)
            while not self._stop.is_set() and (claimed := self._jobs.claim(self._limits.rows)):
                batch = self._without_company(claimed)
                with self._leases.kept(batch), self._given_back_if_refused(batch):
                    self.answer_batch(batch)
        except LoradexError as error:
            self._log.warning("answering.broken_off", reason=str(error))
        except Exception:  # noqa: BLE001 - nothing that goes wrong with a batch may end the worker
            self._log.exception("answering.failed")
        finally:
            self._turn.release()

    def answer_batch(self, batch: Sequence[Job]) -> None:
        """Take claimed jobs to their end: each an answer, a recorded failure, or back in the queue."""
        clock = Clock()
        embedded = self._through(self._embed, [Claimed(job) for job in batch])
        clock.lap("embed")
        routed = self._through(self._route, embedded)
        clock.lap("route")
        prepared = self._through(self._prepare, routed)
        # The engine groups prompts of near length by itself; here only memory counts, so padding may be any.
        groups = pack_by_length(
            [one.tokens for one in prepared], rows=len(batch), tokens=self._limits.tokens, padding=1
        )
        for number, group in enumerate(groups):
            if self._stop.is_set():
                self._give_back(prepared[index] for rest in groups[number:] for index in rest)
                return
            clock.lap("prepare")
            answered = self._through(self._compose, [prepared[index] for index in group])
            clock.lap("compose")
            for one in answered:
                self._record(one, clock)

    def _embed(self, batch: Sequence[Claimed]) -> list[Embedded | Failure]:
        questions = self._encoder.embed_questions([one.job.prompt for one in batch])
        return [Embedded(one.job, question) for one, question in zip(batch, questions, strict=True)]

    def _route(self, batch: Sequence[Embedded]) -> list[Routed | Failure]:
        routings = self._jobs.route([one.job for one in batch], [one.question.vector for one in batch])
        return [Routed(one.job, one.question, routing) for one, routing in zip(batch, routings, strict=True)]

    def _prepare(self, batch: Sequence[Routed]) -> list[Prepared | Failure]:
        return [self._prepared(one) for one in batch]

    def _prepared(self, one: Routed) -> Prepared:
        job = one.job
        recipe = Recipe.decided(vars(one.routing), job.settings["density"], self._identity.dtype)
        row = Row.of(
            self._identity.framed(job),
            recipe,
            kind=job.kind,
            choices=job.choices,
            settings=job.settings,
            seed=job.seed,
        )
        tokens = self._engine.count_tokens(row) + row.max_new_tokens
        return Prepared(job, one.question, one.routing, recipe, row, tokens)

    def _compose(self, batch: Sequence[Prepared]) -> list[Answered | Failure]:
        mixtures = [part for one in batch for part in one.routing.mixture]
        self._engine.bank.ensure({part["sha256"]: self._adapters.locate(part["uri"]) for part in mixtures})
        self._observer.batch(len(batch))
        results = self._engine.answer(
            [one.row for one in batch], lambda place: self._leases.is_over(batch[place].job.id)
        )
        return [
            result
            if isinstance(result, Failure)
            else Answered(one.job, one.question, one.routing, one.recipe, one.row, one.tokens, result)
            for one, result in zip(batch, results, strict=True)
        ]

    def _record(self, one: Answered, clock: Clock) -> None:
        timings = {"wait": one.job.waited_ms, **clock.laps, "total": clock.total()}
        answer = answer_document(
            identity=self._identity,
            question=one.question,
            recipe=one.recipe,
            row=one.row,
            result=one.result,
            timings=timings,
        )
        self._pieces.put(one.job, one.result.stored_text)
        try:
            answer_id = self._jobs.record(one.job, answer)
        except LeaseLostError:
            self._fenced_off(one.job)
        except RoutingLostError:
            self._give_back([one])
        except OUTAGES:
            raise
        except LoradexError as error:
            self._fail(one.job, Failure.of(error))
        else:
            self._observer.answered(one.routing, answer)
            self._pieces.end(one.job, answer_id)
            self._log.info("job.answered", job=str(one.job.id), answer=str(answer_id), **timings)

    def _through(
        self, step: Callable[[Sequence[Before]], Sequence[After | Failure]], batch: Sequence[Before]
    ) -> list[After]:
        """What comes out of the step; a job that fails in it is recorded as failed, one that is over is left."""
        done: list[After] = []
        for one, result in zip(batch, run_isolated(step, batch), strict=True):
            if result is UNWANTED:
                self._fenced_off(one.job)
            elif isinstance(result, Failure):
                self._fail(one.job, result)
            else:
                done.append(result)
        return done

    def _fail(self, job: Job, failure: Failure) -> None:
        self._pieces.end(job)
        self._log.warning("job.failed", job=str(job.id), code=failure.code, reason=failure.message)
        try:
            self._jobs.fail(job, failure.code, failure.message)
        except LeaseLostError:
            self._fenced_off(job)
        else:
            self._observer.failed(failure.code)

    def _fenced_off(self, job: Job) -> None:
        """The attempt is over: the job was cancelled, has expired, or is another worker's."""
        self._observer.lost()
        self._pieces.end(job)
        self._log.warning("job.fenced_off", job=str(job.id), attempt=job.attempt)

    def _without_company(self, claimed: Sequence[Job]) -> Sequence[Job]:
        """The batch to answer: a job that was lost before is answered alone, the others go back.

        If it is the job that kills its worker, it takes nobody along.
        """
        suspect = next((job for job in claimed if job.lost_attempts > 0), None)
        if suspect is None:
            return claimed
        self._give_back(Claimed(job) for job in claimed if job is not suspect)
        return [suspect]

    @contextmanager
    def _given_back_if_refused(self, batch: Sequence[Job]) -> Iterator[None]:
        """What Postgres refuses waits again, and costs no attempt however long that lasts."""
        try:
            yield
        except REFUSED:
            with suppress(LoradexError):
                self._give_back(Claimed(job) for job in batch)
            raise

    def _give_back(self, left: Iterable[Claimed]) -> None:
        jobs = [one.job for one in left]
        if not jobs:
            return
        self._jobs.release(jobs)
        self._log.info("batch.given_back", jobs=len(jobs))
