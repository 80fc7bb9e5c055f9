"""How jobs end: answered, failed, given back to the queue, or left to whoever has them now."""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

import structlog

from loradex.errors import LeaseLostError, LoradexError, RoutingLostError
from loradex.tracing import trace_id_of
from loradex.worker.answers import answer_document
from loradex.worker.identity import WorkerIdentity
from loradex.worker.isolation import OUTAGES, REFUSED, Failure
from loradex.worker.jobs import Job, Jobs
from loradex.worker.leases import Leases
from loradex.worker.observer import Observer
from loradex.worker.pieces import Pieces
from loradex.worker.stages import Answered, Claimed
from loradex.worker.traces import RECORD, Traces


class Ending:
    """Writes down what became of jobs, and lets their leases go. Threads may share it.

    Args:
        jobs: The connection that it writes over.
        leases: Of the jobs in hand.
        pieces: Tells whoever listens that an answer is at its end.
        observer: Counts them.
        identity: What stands in every answer.
    """

    def __init__(
        self, jobs: Jobs, *, leases: Leases, pieces: Pieces, observer: Observer, identity: WorkerIdentity
    ) -> None:
        self._jobs = jobs
        self._leases = leases
        self._pieces = pieces
        self._observer = observer
        self._identity = identity
        self._traces = Traces(identity)
        self._log = structlog.get_logger("answering")

    def record(self, one: Answered) -> None:
        """Writes an answer. A job whose answer is refused fails; one whose routing is lost waits again."""
        timings = {"wait": one.job.waited_ms, **one.clock.laps, "total": one.clock.total()}
        with self.let_go_if_broken([one.job]):
            try:
                answer = answer_document(
                    identity=self._identity,
                    question=one.question,
                    recipe=one.recipe,
                    row=one.row,
                    result=one.result,
                    timings=timings,
                )
                since = time.perf_counter()
                try:
                    answer_id = self._jobs.record(one.job, answer)
                finally:
                    one.clock.called(RECORD, since)
            except LeaseLostError:
                self.fenced_off(one)
            except RoutingLostError:
                self.give_back([one.job])
            except OUTAGES:
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, it must end as a recorded failure
                self.fail(one, Failure.of(error))
            else:
                self._leases.let_go([one.job])
                self._observer.answered(one.routing, answer)
                self._traces.answered(one, answer, answer_id)
                self._pieces.end(one.job, answer_id)
                self._log.info("job.answered", **_ids(one.job), answer=str(answer_id), **timings)

    def fail(self, one: Claimed, failure: Failure) -> None:
        """Ends a job as failed."""
        job = one.job
        with self.let_go_if_broken([job]):
            self._pieces.end(job)
            # Why, the job says: the text may hold its prompt.
            self._log.warning("job.failed", **_ids(job), code=failure.code)
            try:
                self._jobs.fail(job, failure.code, failure.message)
            except LeaseLostError:
                self.fenced_off(one)
            else:
                self._leases.let_go([job])
                self._observer.failed(failure.code)
                self._traces.failed(one, failure.code)

    def fenced_off(self, one: Claimed) -> None:
        """The attempt is over: the job was cancelled, has expired, or is another worker's."""
        job = one.job
        try:
            self._observer.lost()
            self._traces.failed(one, LeaseLostError.code)
            self._pieces.end(job)
            self._log.warning("job.fenced_off", **_ids(job), attempt=job.attempt)
        finally:
            self._leases.let_go([job])

    def give_back(self, jobs: Iterable[Job], *, ring: bool = True) -> None:
        """They wait again, for any worker: with `ring` at once, else until the next look of one."""
        left = list(jobs)
        if not left:
            return
        for job in left:
            self._pieces.leave(job)
        try:
            self._jobs.release(left, ring=ring)
        finally:
            self._leases.let_go(left)
        self._log.info("jobs.given_back", jobs=len(left))

    @contextmanager
    def let_go_if_broken(self, jobs: Sequence[Job]) -> Iterator[None]:
        """What Postgres refuses waits again, and costs no attempt however long that lasts.

        What it does not answer waits until its lease is over.
        """
        try:
            yield
        except REFUSED:
            with suppress(LoradexError):
                # It would be refused to the next worker too.
                self.give_back(jobs, ring=False)
            raise
        except BaseException:
            # Whoever has them next begins their texts anew.
            for job in jobs:
                self._pieces.leave(job)
            self._leases.let_go(jobs)
            raise


def _ids(job: Job) -> dict[str, str]:
    """By which the log's lines about a job are found, and those of the request that it came with."""
    trace = trace_id_of(job.traceparent)
    return {"job": str(job.id), **({} if trace is None else {"trace": trace})}
