"""The one way of a job through the worker: claim, embed, route, prepare; compose and write; record."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Self

import structlog

from loradex.errors import DeviceBrokenError, LoradexError
from loradex.worker.aside import Aside, let_go
from loradex.worker.clock import Clock
from loradex.worker.ending import Ending
from loradex.worker.engine.protocol import AnswerEngine, Event, Failed, Finished, Ticket, Wrote
from loradex.worker.engine.rows import RowResult
from loradex.worker.intake import Intake
from loradex.worker.isolation import Failure
from loradex.worker.jobs import Job
from loradex.worker.leases import Leases
from loradex.worker.observer import Observer
from loradex.worker.pieces import Pieces
from loradex.worker.repeating import Repeating
from loradex.worker.stages import Answered, Claimed, Prepared

FINISH_SECONDS = 10.0
"""How long a worker that is told to stop goes on with what it has in hand; then that waits again."""

PAUSE_SECONDS = 0.25
"""How long a thread without work waits at most before it looks whether it is to end."""

CLAIM_AGAIN_SHARE = 8
"""While jobs are known to wait, they are claimed once one part in so many of the places is free, or after a pause: one
at a time, each would be embedded and routed for itself."""


class Answering:
    """Answers what waits in Postgres; holds nothing that cannot be lost.

    Three threads, so that none waits for another's work: one takes jobs in, one computes, one records. A job goes on
    as soon as it can: it joins the rows that are computed when there is room, and is recorded when it is done.

    Args:
        intake: The stages before the engine.
        engine: Composes and writes; only one thread here uses it.
        ending: The stages after it.
        leases: Of the jobs in hand.
        pieces: Tells whoever listens what is written.
        rows: Jobs in hand at most.
        reserved: How many of these places are for urgent jobs alone, whose priority is above the default.
        linger: Seconds between the bell and the claim, in which more may come.
        stop: Set when the worker is to end.
        observer: Counts rows.
        aside: Rows of others, which give way to those of jobs.

    Attributes:
        lost: Why nothing more can be computed here, once that is so.
    """

    def __init__(
        self,
        *,
        intake: Intake,
        engine: AnswerEngine,
        ending: Ending,
        leases: Leases,
        pieces: Pieces,
        rows: int,
        reserved: int,
        linger: float,
        stop: threading.Event,
        observer: Observer,
        aside: Aside | None = None,
    ) -> None:
        self._intake = intake
        self._engine = engine
        self._ending = ending
        self._leases = leases
        self._pieces = pieces
        self._rows = rows
        self._reserved = reserved
        self._linger = linger
        self._stop = stop
        self._observer = observer
        self._aside = aside or Aside()
        self._rung = threading.Event()
        self._more_wait = False
        self._ready: SimpleQueue[list[Prepared]] = SimpleQueue()
        self._done: SimpleQueue[tuple[Prepared, RowResult | Failure]] = SimpleQueue()
        self._computed: dict[Ticket, Prepared] = {}
        self._apart: deque[Prepared] = deque()
        self.lost: DeviceBrokenError | None = None
        self._log = structlog.get_logger("answering")
        self._taking_in = Repeating("intake", self._carrying_on(self._take_in), 0, stop)
        self._computing = Repeating("engine", self._carrying_on(self._compute), 0)
        self._recording = Repeating("recording", self._carrying_on(self._record), 0)

    def ring(self) -> None:
        """Something may wait: it is looked for at once. For any thread; returns immediately."""
        self._rung.set()

    def lose(self, error: DeviceBrokenError) -> None:
        """Nothing more can be computed: the worker is to end. For any thread; returns immediately."""
        self.lost = error
        self._stop.set()

    def __enter__(self) -> Self:
        for thread in (self._recording, self._computing, self._taking_in):
            thread.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finishes what is in hand, or gives it back."""
        self._stop.set()
        if self.lost is None:
            self._leases.wait_for(0, FINISH_SECONDS)
        self._taking_in.__exit__(kind, error, trace)
        self._computing.__exit__(kind, error, trace)
        self._recording.__exit__(kind, error, trace)
        if self.lost is not None:
            # Any of them may be the cause. Their leases run out, which counts: the next time each is answered alone.
            self._leases.let_go([one.job for one in self._computed.values()])
        try:
            self._record_all()
            self._ending.give_back(self._leases.held())
        except LoradexError as lost:
            self._log.warning("answering.broken_off", reason=str(lost))

    def _carrying_on(self, step: Callable[[], None]) -> Callable[[], None]:
        """The step, after whose errors its thread goes on: the jobs are in Postgres, and the next look finds them."""

        def run() -> None:
            try:
                step()
            except DeviceBrokenError as error:
                self.lose(error)
            except LoradexError as error:
                self._log.warning("answering.broken_off", reason=str(error))

        return run

    def _take_in(self) -> None:
        """Claims what there is room for, and makes it ready."""
        # Urgent jobs ring, so that for them nothing is asked in between.
        if not self._rung.wait(PAUSE_SECONDS) and not (self._more_wait and self._open_places() > 0):
            return
        self._rung.clear()
        self._stop.wait(self._linger)
        while not self._stop.is_set():
            free = self._rows - len(self._leases)
            urgent = free <= self._reserved
            room = free if urgent else free - self._reserved
            # Whoever rings while there is no room is heard when there is.
            self._more_wait = urgent
            if room <= 0 or not (jobs := self._intake.claim(room, urgent=urgent)):
                return
            self._more_wait = urgent or len(jobs) == room
            suspect = next((job for job in jobs if job.lost_attempts > 0), None)
            if suspect is not None:
                self._answer_alone(suspect, jobs)
                continue
            self._hand_over(jobs)

    def _open_places(self) -> int:
        """Places free for any job."""
        return self._rows - self._reserved - len(self._leases)

    def _hand_over(self, jobs: Sequence[Job]) -> None:
        """Makes jobs ready. Those claimed together go on together: the first alone would be a pass of its own."""
        together: list[Prepared] = []
        here = threading.get_ident()

        def arrive(one: Prepared) -> None:
            self._read_ahead(one)
            if threading.get_ident() == here:
                together.append(one)
            else:
                self._ready.put([one])

        self._intake.prepare(jobs, arrive)
        if together:
            self._ready.put(together)

    def _read_ahead(self, one: Prepared) -> None:
        try:
            self._engine.fetch(one.adapters, one.row)
        except Exception:  # noqa: BLE001 - whatever it is, the job goes on without it
            # It spares the engine a wait, and is no reason to lose a job whose lease would be kept for ever.
            self._log.exception("answering.not_read_ahead", job=str(one.job.id))

    def _answer_alone(self, suspect: Job, claimed: list[Job]) -> None:
        """A job that was lost before has no company: if it is the job that kills its worker, it takes nobody along.

        While its files are fetched, others are taken in; they are let end before it begins.
        """
        try:
            self._ending.give_back(job for job in claimed if job is not suspect)
            while not self._leases.wait_for(1, PAUSE_SECONDS):
                if self._stop.is_set():
                    return
        except BaseException:
            # Nobody has it: its lease would be kept for ever.
            self._leases.let_go([suspect])
            raise
        self._hand_over([suspect])
        while not self._stop.is_set() and not self._leases.wait_for(0, PAUSE_SECONDS):
            pass
        self._rung.set()

    def _compute(self) -> None:
        """Gives the engine what is ready, lets it work for a moment, and hands on what came of it."""
        if self.lost is not None:
            time.sleep(PAUSE_SECONDS)
            return
        joined = False
        for one in self._arrived():
            self._join(one)
            joined = True
        self._drop_over()
        place = self._open_places() > 0 and not self._alone()
        self._aside.before_step(self._engine, idle=not self._computed, place=place)
        try:
            events = self._engine.step()
        except Exception as error:
            self._aside.broke(self._engine, error)
            if isinstance(error, DeviceBrokenError):
                raise
            # Rows that an engine forgot would be held for ever.
            for ticket in list(self._computed):
                let_go(self._engine, ticket)
                self._hand_on(ticket, Failure.of(error))
            raise
        if joined:
            self._observer.used(self._engine.usage().used_bytes)
        for event in events:
            if not self._aside.heard(event):
                self._heard(event)
        self._aside.after_step(self._engine)

    def _join(self, one: Prepared) -> None:
        """Gives the engine one row more, if it is in hand still."""
        if not self._leases.begin(one.job):
            return
        if one.job.id in self._computed:
            # Its lease was over while this worker slept, and it was claimed anew.
            let_go(self._engine, one.job.id)
        self._computed[one.job.id] = one
        self._observer.batch(len(self._computed))
        if one.job.lost_attempts > 0:
            self._aside.give_way(self._engine)
        try:
            self._engine.add(one.job.id, one.row, one.adapters)
        except DeviceBrokenError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it must end as one recorded failure
            self._hand_on(one.job.id, Failure.of(error))

    def _drop_over(self) -> None:
        """Lets the rows go whose jobs have ended, or are another worker's."""
        for job in self._leases.over():
            one = self._computed.pop(job.id, None)
            if one is not None:
                let_go(self._engine, job.id)
                one.clock.lap("compose")
                self._ending.fenced_off(one)
            elif self._leases.let_go_unbegun(job):
                # It is on its way here, and whoever brings it lets it lie.
                self._ending.fenced_off(Claimed(job, Clock()))
            else:
                # It is being recorded, which finds out by itself.
                continue
            # Its place is another's at once.
            self._rung.set()

    def _arrived(self) -> Iterator[Prepared]:
        """What may join the rows that are computed. Who was lost before joins nobody, and nobody joins it."""
        if self._alone():
            return
        if not self._apart:
            for one in self._made_ready():
                if one.job.lost_attempts > 0:
                    self._apart.append(one)
                else:
                    yield one
        if self._apart and not self._computed:
            yield self._apart.popleft()

    def _alone(self) -> bool:
        """Whether a job is computed that is to have no company."""
        return any(one.job.lost_attempts > 0 for one in self._computed.values())

    def _made_ready(self) -> Iterator[Prepared]:
        """What is ready; waits a moment for it if nothing is computed."""
        try:
            busy = self._computed or self._aside.computed
            yield from self._ready.get(timeout=0 if busy else PAUSE_SECONDS)
            while True:
                yield from self._ready.get_nowait()
        except Empty:
            return

    def _heard(self, event: Event) -> None:
        one = self._computed.get(event.ticket)
        if one is None:
            # Of a row that could not be let go.
            return
        if isinstance(event, Wrote):
            self._pieces.put(one.job, event.text)
        elif isinstance(event, Finished):
            self._hand_on(event.ticket, event.result)
        elif isinstance(event, Failed):
            self._hand_on(event.ticket, event.failure)

    def _hand_on(self, ticket: Ticket, result: RowResult | Failure) -> None:
        one = self._computed.pop(ticket)
        one.clock.lap("compose")
        self._done.put((one, result))

    def _record(self) -> None:
        """Writes one answer down, and looks for more work if there is some."""
        try:
            one, result = self._done.get(timeout=PAUSE_SECONDS)
        except Empty:
            return
        try:
            self._end(one, result)
        finally:
            if self._more_wait and self._open_places() * CLAIM_AGAIN_SHARE >= self._rows:
                self._rung.set()

    def _record_all(self) -> None:
        while not self._done.empty():
            self._end(*self._done.get())

    def _end(self, one: Prepared, result: RowResult | Failure) -> None:
        if isinstance(result, Failure):
            self._ending.fail(one, result)
        else:
            self._ending.record(Answered(**vars(one), result=result))
