"""The three threads of a worker around an engine of which only the protocol is known."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
import torch
from tests.fix_models import Zoo
from tests.until import until

from loradex.errors import AdapterChangedError, DeviceBrokenError, PermissionRefusedError
from loradex.worker import aside
from loradex.worker.answering import Answering
from loradex.worker.aside import Aside
from loradex.worker.clock import Clock
from loradex.worker.engine.protocol import Event, Failed, Finished, Ticket, Usage, Wrote
from loradex.worker.engine.recipe import Component, Recipe
from loradex.worker.engine.rows import MergeReport, Row, RowResult
from loradex.worker.isolation import Failure
from loradex.worker.jobs import Job, Routing
from loradex.worker.leases import Leases
from loradex.worker.stages import Answered, Claimed, Prepared

PLACES = 2
LOST = DeviceBrokenError("cuda:0 computes nothing more")
FAULT = RuntimeError("a fault of ours")
RESULT = RowResult("text", (1,), None, None, 1, 1, "length", MergeReport(0, 0, 0, ()))


class OneStepEngine:
    """Each row waits until it is told to end; what it is to do with a prompt is said beforehand."""

    def __init__(self) -> None:
        self.rows: dict[Ticket, Row] = {}
        self.aborted: list[Ticket] = []
        self.ready: set[str] = set()
        self.breaks: Exception | None = None
        self.reads_ahead = True
        self.lets_go = True
        self.steps = 0
        self.waits: list[Ticket] = []

    def fetch(self, adapters: Mapping[str, Path], _row: Row) -> None:
        assert not adapters
        if not self.reads_ahead:
            raise RuntimeError("a fault of an engine")

    def add(self, ticket: Ticket, row: Row, adapters: Mapping[str, Path]) -> None:
        assert not adapters
        if row.prompt_text == "refused":
            raise AdapterChangedError("its files are gone")
        assert ticket not in self.rows
        self.rows[ticket] = row

    def step(self) -> Sequence[Event]:
        self.steps += 1
        if self.rows and (error := self.breaks):
            self.breaks = None if isinstance(error, RuntimeError) else error
            raise error
        events: list[Event] = []
        for ticket, row in list(self.rows.items()):
            if row.prompt_text in self.ready:
                del self.rows[ticket]
                events += [Wrote(ticket, "text"), Finished(ticket, RESULT)]
            elif row.prompt_text == "fails":
                del self.rows[ticket]
                events.append(Failed(ticket, Failure("not_finite", "NaN")))
        return events

    def abort(self, ticket: Ticket) -> None:
        self.aborted.append(ticket)
        if not self.lets_go:
            raise MemoryError("a row cannot be taken out of the others")
        self.rows.pop(ticket, None)

    def usage(self) -> Usage:
        return Usage(len(self.rows), tuple(self.waits), 0, 1)


class Queue:
    """What an intake and an ending do, without a database."""

    def __init__(self) -> None:
        self.waiting: list[Job] = []
        self.claims: list[int] = []
        self.answered: list[str] = []
        self.failed: dict[str, str] = {}
        self.given_back: list[str] = []
        self.unready: Exception | None = None
        self.keeps: Exception | None = None
        # Prompts whose adapters lie elsewhere, and what brings them.
        self.far: set[str] = set()
        self.come: list[Callable[[], None]] = []
        self.fenced: list[str] = []
        # What the thread of leases asks.
        self.lease = timedelta(seconds=60)
        self.ended: set[UUID] = set()
        self.leases: Leases = Leases(cast(Any, self))

    def claim(self, most: int, *, urgent: bool) -> list[Job]:
        self.claims.append(most)
        taken = [job for job in self.waiting if not urgent or job.settings["priority"] > 0][:most]
        self.waiting = [job for job in self.waiting if job not in taken]
        self.leases.hold(taken)
        return taken

    def prepare(self, jobs: Sequence[Job], ready: Callable[[Prepared], None]) -> None:
        if self.unready is not None:
            self.leases.let_go(jobs)
            raise self.unready
        routing = Routing(merge="cat", calibrated=False, mixture=())
        recipe = Recipe("cat", 1.0, "float32", ())
        for job in jobs:
            row = Row(cast(Any, job.prompt), recipe)
            one = Prepared(job, Clock(), cast(Any, None), routing, recipe, row, {})
            if job.prompt in self.far:
                self.leases.wait_elsewhere(job, waits=True)
                self.come.append(partial(self._came, one, ready))
            else:
                ready(one)

    def _came(self, one: Prepared, ready: Callable[[Prepared], None]) -> None:
        self.leases.wait_elsewhere(one.job, waits=False)
        thread = threading.Thread(target=ready, args=(one,))
        thread.start()
        thread.join()

    def record(self, one: Answered) -> None:
        self.answered.append(one.job.prompt)
        self.leases.let_go([one.job])

    def fail(self, one: Claimed, failure: Failure) -> None:
        self.failed[one.job.prompt] = failure.code
        self.leases.let_go([one.job])

    def give_back(self, jobs: Iterator[Job]) -> None:
        left = list(jobs)
        if (error := self.keeps) is not None and left:
            self.keeps = None
            self.leases.let_go(left)
            raise error
        self.given_back += [job.prompt for job in left]
        self.leases.let_go(left)

    def fenced_off(self, one: Claimed) -> None:
        self.fenced.append(one.job.prompt)
        self.leases.let_go([one.job])

    def over(self, ids: Sequence[UUID]) -> set[UUID]:
        return self.ended & set(ids)

    def expire(self) -> None:
        """Nothing has a deadline."""

    def extend(self, ids: Sequence[UUID]) -> None:
        """Leases last for longer than a test."""


class Worker:
    def __init__(self, reserved: int = 0) -> None:
        self.queue, self.engine = Queue(), OneStepEngine()
        self.said: list[str] = []
        self.together = False
        self.aside = Aside()
        pieces = SimpleNamespace(put=lambda _job, text: self.said.append(text))
        self.answering = Answering(
            intake=cast(Any, self.queue),
            engine=self.engine,
            ending=cast(Any, self.queue),
            leases=self.queue.leases,
            pieces=cast(Any, pieces),
            rows=PLACES + reserved,
            reserved=reserved,
            linger=0,
            stop=threading.Event(),
            observer=cast(Any, SimpleNamespace(batch=lambda _rows: None, used=lambda _count: None)),
            aside=self.aside,
        )

    def asked(
        self, prompt: str, *, attempt: int = 1, lost: int = 0, job_id: UUID | None = None, priority: int = 0
    ) -> Job:
        settings = {"priority": priority}
        job = Job(job_id or uuid4(), "generate", prompt, None, None, None, settings, attempt, None, lost, 0.0)
        self.queue.waiting.append(job)
        if not self.together:
            self.answering.ring()
        return job

    @contextmanager
    def asking_together(self) -> Iterator[None]:
        """The worker hears of what is asked inside at the end."""
        self.together = True
        yield
        self.together = False
        self.answering.ring()


@pytest.fixture
def worker() -> Iterator[Worker]:
    made = Worker()
    with ExitStack() as running:
        running.enter_context(made.queue.leases)
        running.enter_context(made.answering)
        yield made
        made.engine.ready |= {row.prompt_text for row in made.engine.rows.values()}


def test_a_job_is_recorded_while_an_earlier_one_is_computed(worker: Worker) -> None:
    worker.asked("long")
    until(lambda: worker.engine.rows)
    worker.asked("short")
    worker.engine.ready.add("short")
    until(lambda: worker.queue.answered == ["short"])
    assert worker.said == ["text"]
    assert [row.prompt_text for row in worker.engine.rows.values()] == ["long"]


def test_what_is_claimed_together_is_begun_together(worker: Worker) -> None:
    begun: list[int] = []
    step, prepare = worker.engine.step, worker.queue.prepare

    def seen() -> Sequence[Event]:
        begun.append(len(worker.engine.rows))
        return step()

    def slowly(jobs: Sequence[Job], ready: Callable[[Prepared], None]) -> None:
        for job in jobs:
            prepare([job], ready)
            time.sleep(0.05)

    worker.engine.step, worker.queue.prepare = seen, slowly  # type: ignore[method-assign]
    with worker.asking_together():
        worker.asked("one")
        worker.asked("another")
    until(lambda: len(worker.engine.rows) == PLACES)
    assert 1 not in begun


def test_no_more_jobs_are_in_hand_than_there_are_places(worker: Worker) -> None:
    for number in range(5):
        worker.asked(f"job {number}")
    until(lambda: len(worker.engine.rows) == PLACES)
    assert len(worker.queue.leases) == PLACES
    worker.engine.ready |= {f"job {number}" for number in range(5)}
    until(lambda: len(worker.queue.answered) == 5)
    assert max(worker.queue.claims) <= PLACES


def test_urgent_jobs_have_places_that_no_others_take() -> None:
    made = Worker(reserved=1)
    with made.queue.leases, made.answering:
        for number in range(2 * PLACES):
            made.asked(f"long {number}")
        until(lambda: len(made.engine.rows) == PLACES)
        made.asked("urgent", priority=1)
        made.engine.ready.add("urgent")
        until(lambda: made.queue.answered == ["urgent"])
        assert len(made.engine.rows) == PLACES
        made.engine.ready |= {f"long {number}" for number in range(2 * PLACES)}
        until(lambda: len(made.queue.answered) == 2 * PLACES + 1)


def test_rows_that_cannot_be_answered_fail_alone(worker: Worker) -> None:
    for prompt in ("refused", "fails", "fine"):
        worker.asked(prompt)
    worker.engine.ready.add("fine")
    until(lambda: worker.queue.answered == ["fine"])
    until(lambda: worker.queue.failed == {"refused": "adapter_changed", "fails": "not_finite"})


def test_an_engine_that_breaks_fails_what_it_has_and_goes_on(worker: Worker) -> None:
    worker.asked("one")
    until(lambda: worker.engine.rows)
    worker.engine.breaks = FAULT
    until(lambda: worker.queue.failed == {"one": "internal"})
    worker.asked("two")
    worker.engine.ready.add("two")
    until(lambda: worker.queue.answered == ["two"])


def test_a_broken_device_ends_the_worker_and_fails_no_job() -> None:
    worker = Worker()
    for prompt in ("one", "two"):
        worker.asked(prompt)
    with worker.queue.leases, worker.answering:
        until(lambda: len(worker.engine.rows) == PLACES)
        worker.engine.breaks = LOST
        assert worker.answering._stop.wait(5)
        worker.asked("waits")
    assert worker.answering.lost is LOST
    assert not worker.queue.failed
    assert [job.prompt for job in worker.queue.waiting] == ["waits"]
    # Their leases run out: one of them may be the cause, and is answered alone by whoever claims it next.
    assert not worker.queue.given_back
    assert not len(worker.queue.leases)


def test_a_job_that_was_only_ready_is_given_back_by_a_worker_whose_device_broke(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worker = Worker()
    join = worker.answering._join

    def first_of_two(one: Prepared) -> None:
        join(one)
        raise LOST

    monkeypatch.setattr(worker.answering, "_join", first_of_two)
    worker.asked("one")
    worker.asked("two")
    with worker.queue.leases, worker.answering:
        assert worker.answering._stop.wait(5)
    assert worker.queue.given_back == ["two"]
    assert not worker.queue.failed
    assert not len(worker.queue.leases)


def test_a_device_that_breaks_while_questions_are_embedded_ends_the_worker() -> None:
    worker = Worker()
    worker.queue.unready = LOST
    with worker.queue.leases, worker.answering:
        worker.asked("one")
        assert worker.answering._stop.wait(5)
    assert worker.answering.lost is LOST
    assert not worker.queue.failed


def test_a_row_of_others_beside_a_device_that_breaks_fails(
    worker: Worker, guest: Callable[..., "Future[Any]"]
) -> None:
    told = guest("beside")
    until(lambda: computed(worker) == {"beside"})
    worker.engine.breaks = LOST
    # Given back it would break the next worker's.
    assert told.result(5).code == "device_broken"
    assert worker.answering.lost is LOST


def test_jobs_whose_files_cannot_be_read_ahead_are_answered(worker: Worker) -> None:
    worker.engine.reads_ahead = False
    for prompt in ("one", "two"):
        worker.asked(prompt)
        worker.engine.ready.add(prompt)
    until(lambda: sorted(worker.queue.answered) == ["one", "two"])
    assert not len(worker.queue.leases)


def test_a_job_that_is_over_is_let_go(worker: Worker) -> None:
    job = worker.asked("unwanted")
    until(lambda: worker.engine.rows)
    worker.queue.ended.add(job.id)
    worker.queue.leases.told(str(job.id))
    until(lambda: worker.queue.fenced == ["unwanted"])
    assert worker.engine.aborted == [job.id]
    assert not len(worker.queue.leases)


def test_a_job_claimed_anew_takes_the_place_of_its_earlier_attempt(worker: Worker) -> None:
    first = worker.asked("again")
    until(lambda: worker.engine.rows)
    worker.asked("again", attempt=2, job_id=first.id)
    until(lambda: worker.engine.aborted == [first.id])
    worker.queue.leases.let_go([first])
    assert [job.attempt for job in worker.queue.leases.held()] == [2]
    worker.engine.ready.add("again")
    until(lambda: worker.queue.answered == ["again"])


def test_a_job_that_the_engine_cannot_let_go_is_over_all_the_same(worker: Worker) -> None:
    worker.engine.lets_go = False
    job = worker.asked("unwanted")
    until(lambda: worker.engine.rows)
    worker.queue.ended.add(job.id)
    worker.queue.leases.told(str(job.id))
    until(lambda: worker.queue.fenced == ["unwanted"])
    assert not len(worker.queue.leases)
    # What it still says of that row is nobody's, and keeps nobody else from being heard.
    worker.engine.ready |= {"unwanted", "fine"}
    worker.asked("fine")
    until(lambda: worker.queue.answered == ["fine"])


def test_an_engine_that_breaks_and_lets_nothing_go_fails_what_it_has(
    worker: Worker, guest: Callable[..., "Future[Any]"]
) -> None:
    worker.asked("one")
    told = guest("beside")
    until(lambda: computed(worker) == {"one", "beside"})
    worker.engine.lets_go = False
    worker.engine.breaks = FAULT
    until(lambda: worker.queue.failed == {"one": "internal"})
    assert told.result(5).code == "internal"
    assert not len(worker.queue.leases)


def test_a_job_claimed_anew_that_the_engine_still_has_ends_as_failed(worker: Worker) -> None:
    worker.engine.lets_go = False
    first = worker.asked("again")
    until(lambda: worker.engine.rows)
    worker.asked("again", attempt=2, job_id=first.id)
    until(lambda: worker.queue.failed == {"again": "internal"})
    assert not len(worker.queue.leases)


def test_a_job_that_was_lost_before_is_answered_alone(worker: Worker) -> None:
    worker.asked("long")
    until(lambda: worker.engine.rows)
    worker.asked("suspect", lost=1)
    until(lambda: len(worker.queue.leases) == PLACES)
    assert [row.prompt_text for row in worker.engine.rows.values()] == ["long"]
    worker.engine.ready.add("long")
    until(lambda: [row.prompt_text for row in worker.engine.rows.values()] == ["suspect"])
    worker.asked("later")
    worker.engine.ready |= {"suspect", "later"}
    until(lambda: worker.queue.answered == ["long", "suspect", "later"])


def test_a_suspect_whose_company_cannot_be_given_back_is_let_go(worker: Worker) -> None:
    """Nobody would have it, and its lease would be kept for ever."""
    worker.queue.keeps = PermissionRefusedError("it may not be released")
    with worker.asking_together():
        worker.asked("suspect", lost=1)
        worker.asked("company")
    until(lambda: worker.queue.keeps is None)
    until(lambda: not len(worker.queue.leases))
    worker.engine.ready.add("later")
    worker.asked("later")
    until(lambda: worker.queue.answered == ["later"])


def computing(worker: Worker) -> list[str]:
    return [str(row.prompt_text) for row in worker.engine.rows.values()]


def test_a_suspect_does_not_wait_for_the_files_of_another(worker: Worker) -> None:
    worker.queue.far.add("far")
    worker.asked("far")
    until(lambda: worker.queue.come)
    worker.asked("suspect", lost=1)
    until(lambda: computing(worker) == ["suspect"])
    # What comes meanwhile joins nobody who is to be alone.
    worker.queue.come[0]()
    steps = worker.engine.steps
    until(lambda: worker.engine.steps > steps + 2)
    assert computing(worker) == ["suspect"]
    worker.engine.ready |= {"suspect", "far"}
    until(lambda: worker.queue.answered == ["suspect", "far"])


def test_while_the_files_of_a_suspect_are_fetched_others_are_answered(worker: Worker) -> None:
    worker.queue.far.add("suspect")
    worker.asked("suspect", lost=1)
    until(lambda: worker.queue.come)
    worker.asked("long")
    until(lambda: computing(worker) == ["long"])
    worker.queue.come[0]()
    steps = worker.engine.steps
    until(lambda: worker.engine.steps > steps + 2)
    assert computing(worker) == ["long"]
    worker.engine.ready.add("long")
    until(lambda: computing(worker) == ["suspect"])
    worker.engine.ready.add("suspect")
    until(lambda: worker.queue.answered == ["long", "suspect"])


def test_a_job_that_is_over_while_its_files_are_fetched_leaves_its_place(worker: Worker) -> None:
    worker.queue.far |= {f"far {number}" for number in range(PLACES)}
    jobs = [worker.asked(f"far {number}") for number in range(PLACES)]
    until(lambda: len(worker.queue.come) == PLACES)
    worker.asked("near")
    worker.queue.ended.add(jobs[0].id)
    worker.queue.leases.told(str(jobs[0].id))
    until(lambda: worker.queue.fenced == ["far 0"])
    until(lambda: computing(worker) == ["near"])
    # Should it come all the same, it is let lie.
    worker.queue.come[0]()
    worker.queue.come[1]()
    until(lambda: computing(worker) == ["near", "far 1"])


def test_an_answer_on_record_is_not_fenced_off(worker: Worker) -> None:
    """Between its record and its lease's end it is over, and nobody else's."""
    job = worker.asked("recorded")
    worker.engine.ready.add("recorded")
    until(lambda: worker.queue.answered == ["recorded"])
    leases = worker.queue.leases
    leases.hold([job])
    assert leases.begin(job)
    assert not leases.let_go_unbegun(job)
    leases.let_go([job])
    assert not leases.let_go_unbegun(job), "it is in hand no more"
    leases.hold([job])
    assert leases.let_go_unbegun(job)
    assert not leases.holds(job)


def test_what_is_not_done_in_time_is_given_back_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loradex.worker.answering.FINISH_SECONDS", 0.1)
    worker = Worker()
    with worker.queue.leases, worker.answering:
        worker.asked("endless")
        until(lambda: worker.engine.rows)
    assert worker.queue.given_back == ["endless"]
    assert worker.queue.answered == []


@pytest.fixture
def guest(worker: Worker) -> Iterator[Callable[..., "Future[Any]"]]:
    """Has a row computed beside the jobs, from a thread of its own."""
    with ThreadPoolExecutor(1) as elsewhere:

        def begin(prompt: str, wanted: Callable[[], bool] = lambda: True) -> "Future[Any]":
            row = Row(cast(Any, prompt), Recipe("cat", 1.0, "float32", ()))
            return elsewhere.submit(worker.aside.answer, row, {}, wanted)

        yield begin


def computed(worker: Worker) -> set[str]:
    return {str(row.prompt_text) for row in worker.engine.rows.values()}


def test_a_row_of_others_is_computed_beside_jobs_and_is_none(
    worker: Worker, guest: Callable[..., "Future[Any]"]
) -> None:
    worker.asked("long")
    until(lambda: computed(worker) == {"long"})
    told = guest("beside")
    until(lambda: computed(worker) == {"long", "beside"})
    worker.engine.ready.add("beside")
    assert told.result(5) is RESULT
    worker.engine.ready.add("long")
    until(lambda: worker.queue.answered == ["long"])
    assert worker.said == ["text"], "nobody is told of it but who asked"


def test_it_gives_way_where_a_job_waits_and_begins_anew(
    worker: Worker, guest: Callable[..., "Future[Any]"], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aside, "AGAIN_SECONDS", 0.01)
    told = guest("beside")
    until(lambda: computed(worker) == {"beside"})
    worker.engine.waits = [*worker.engine.rows, "a job"]
    until(lambda: not worker.engine.rows)
    worker.engine.ready.add("beside")
    assert not told.done()
    worker.engine.waits = []
    assert told.result(5) is RESULT


def test_it_does_not_give_way_to_itself(worker: Worker, guest: Callable[..., "Future[Any]"]) -> None:
    told = guest("beside")
    until(lambda: computed(worker) == {"beside"})
    worker.engine.waits = list(worker.engine.rows)
    steps = worker.engine.steps
    until(lambda: worker.engine.steps > steps + 3)
    assert not worker.engine.aborted
    worker.engine.ready.add("beside")
    assert told.result(5) is RESULT


@pytest.mark.parametrize("code", ["not_finite", "internal"])
def test_a_row_of_others_that_breaks_by_itself_fails_and_does_not_begin_for_ever(
    zoo: Zoo, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    engine, beside = zoo.engine(), Aside()
    part = Component(zoo.even[0].sha256, 3e38 if code == "not_finite" else 0.5)
    row = Row("fox", Recipe("cat", 1.0, "float32", (part,)))

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("1 GiB was asked for and 0.5 are free")

    if code == "internal":
        monkeypatch.setattr(engine._forward, "prompts", full)
    over = threading.Event()
    with ThreadPoolExecutor(1) as elsewhere:
        told = elsewhere.submit(beside.answer, row, {}, lambda: not over.is_set())
        until(lambda: beside.waits)
        try:
            for _ in range(8):
                beside.before_step(engine, idle=True, place=True)
                for event in engine.step():
                    assert beside.heard(event)
                beside.after_step(engine)
            assert not beside.waits
        finally:
            over.set()
    result = told.result()
    assert isinstance(result, Failure)
    assert result.code == code


def test_a_job_that_was_lost_before_has_no_row_of_others_beside_it(
    worker: Worker, guest: Callable[..., "Future[Any]"]
) -> None:
    told = guest("beside")
    until(lambda: computed(worker) == {"beside"})
    worker.asked("suspect", attempt=2, lost=1)
    until(lambda: computed(worker) == {"suspect"})
    worker.engine.ready |= {"suspect", "beside"}
    assert told.result(5) is RESULT
    assert worker.queue.answered == ["suspect"]


def test_it_takes_no_place_where_there_is_none(worker: Worker, guest: Callable[..., "Future[Any]"]) -> None:
    for number in range(PLACES):
        worker.asked(f"long {number}")
    until(lambda: len(worker.engine.rows) == PLACES)
    told = guest("beside")
    until(lambda: worker.aside.waits)
    assert "beside" not in computed(worker)
    worker.engine.ready |= {"long 0", "beside"}
    assert told.result(5) is RESULT


def test_a_row_that_nobody_wants_any_more_is_let_go(
    worker: Worker, guest: Callable[..., "Future[Any]"]
) -> None:
    wanted = threading.Event()
    wanted.set()
    told = guest("beside", wanted.is_set)
    until(lambda: computed(worker) == {"beside"})
    wanted.clear()
    assert told.result(5) is None
    until(lambda: not worker.engine.rows)


def test_a_row_of_others_that_breaks_is_a_failure_and_jobs_go_on(
    worker: Worker, guest: Callable[..., "Future[Any]"]
) -> None:
    assert guest("refused").result(5).code == "adapter_changed"
    assert guest("fails").result(5).code == "not_finite"
    told = guest("beside")
    until(lambda: computed(worker) == {"beside"})
    worker.engine.breaks = FAULT
    assert told.result(5).code == "internal"
    worker.engine.ready.add("job")
    worker.asked("job")
    until(lambda: worker.queue.answered == ["job"])


def test_an_errand_waits_for_a_moment_without_jobs(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    assert worker.aside.when_idle(lambda: 0.5) == 0.5
    assert worker.aside.when_idle(lambda: 1 / 0) is None
    monkeypatch.setattr(aside, "IDLE_SECONDS", 0.3)
    worker.asked("long")
    until(lambda: worker.engine.rows)
    assert worker.aside.when_idle(lambda: 0.5) is None
