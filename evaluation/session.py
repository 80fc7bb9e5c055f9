"""The evaluation's composition root: database, engine, encoder and record, made once."""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

from loradex.addresses import database_address
from loradex.db.session import connect
from loradex.errors import InvalidArgumentError
from loradex.evaluation.answer_quality import measure_affinity
from loradex.evaluation.as_jobs import AsJobs
from loradex.evaluation.cells import Cell
from loradex.evaluation.defaults import routing_defaults
from loradex.evaluation.in_process import InProcess
from loradex.evaluation.origin import MARKS, Asked, Origin
from loradex.evaluation.plan import Plan, cases
from loradex.evaluation.questions import Question, question_of
from loradex.evaluation.record import Record
from loradex.evaluation.routing import Hidden, Router
from loradex.evaluation.rows import drawn, held_out, read_rows, row_hash, shared
from loradex.evaluation.run import Asker, evaluate
from loradex.evaluation.side_by_side import side_by_side
from loradex.evaluation.store import (
    adapters_by_task,
    families,
    library_hash,
    models,
    revision,
    rows_trained_on,
    store_cells,
    without_rows,
)
from loradex.evaluation.subject import Subject
from loradex.library.adapter_store import AdapterStore, StoredAdapter
from loradex.library.affinities import Affinity
from loradex.library.cards import TaskCard
from loradex.library.example_file import file_of
from loradex.library.examples import Example
from loradex.library.vectors import embed
from loradex.service.client import Client
from loradex.worker.encoders import encoder_facts, question_cache, question_encoder_at
from loradex.worker.engine.engine import Engine
from loradex.worker.engine.load import shipped_model
from loradex.worker.engine.quantization import packages_of
from loradex.worker.identity import WorkerIdentity, register_models, versions
from loradex.worker.settings import WorkerSettings


class Session:
    """Everything an evaluation needs, on the stack the settings name; models are loaded when one is asked.

    Args:
        settings: As a worker reads them.
        plan: What is measured.
        record: File of cells measured before; None keeps one below `home`.
        in_process: Answer here; otherwise the stack's own worker does.
        writing: Whether this process adds to the record.

    Raises:
        StackError: No stack runs.
        InvalidArgumentError: No adapter is registered, or the record is none.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        plan: Plan,
        record: Path | None,
        *,
        in_process: bool,
        writing: bool = True,
    ) -> None:
        self._settings = settings
        self._plan = plan
        self._in_process = in_process
        self._hidden: set[Hidden] = set()
        self._hashes: dict[str, Asked] = {}
        with ExitStack() as resources:
            self._connection = resources.enter_context(connect(database_address(settings)))
            self._encoder, self._facts = encoder_facts(settings)
            self._vectors = resources.enter_context(question_cache(settings.home, self._facts))
            self._roots = settings.roots()
            self._adapters = adapters_by_task(self._connection, settings.base_model)
            origin = self._origin()
            path = record or settings.home / "evaluations" / f"{origin.library[:16]}.jsonl"
            self.record = Record(path, origin, writing=writing)
            self._resources = resources.pop_all()

    def _origin(self) -> Origin:
        base_model, encoder = self._settings.base_model, self._settings.encoder
        revision_of_model, frame, revision_of_encoder = models(self._connection, base_model, encoder)
        return Origin(
            rows="held-out" if self._plan.held_out else "test",
            limit=self._plan.limit,
            dtype=self._settings.form.numbers,
            library=library_hash(self._connection, base_model, encoder),
            base_model=revision_of_model,
            encoder=revision_of_encoder or self._facts.revision,
            frame=frame,
            mode="in-process" if self._in_process else "as-jobs",
            defaults=routing_defaults(self._connection),
            marks=MARKS,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._resources.close()

    def cells(self, advance: Callable[[str, float], None], processes: int = 1) -> Iterator[Cell]:
        """Measure what is not on record yet, in processes of their own if that is work for several.

        Raises:
            InvalidArgumentError: The models are not those the database knows.
            EvaluationFailedError: One of several processes could not go on.
            LoradexError: As `run.evaluate` does.
        """
        open_tasks = [name for name in self._plan.cards if not self._measured(name)]
        count = min(processes, len(open_tasks))
        if count <= 1:
            yield from self.cells_of(self._plan.cards, advance)
            return
        yield from self.cells_of((name for name in self._plan.cards if name not in open_tasks), advance)
        share = Share(self._settings, self._plan, self.record.path, self._in_process, count)
        for cell in side_by_side(share, open_tasks, count, advance):
            self.record.add(cell)
            yield cell

    def cells_of(self, tasks: Iterable[str], advance: Callable[[str, float], None]) -> Iterator[Cell]:
        """The cells of some tasks, measured in this process; raises as `run.evaluate` does."""
        for name in tasks:
            plan = replace(self._plan, cards={name: self._plan.cards[name]})
            yield from evaluate(
                plan,
                self._subject,
                self._told,
                lambda: self._asker,
                families=families(self._connection),
                record=self.record,
                revision=revision(),
                advance=advance,
            )

    def _measured(self, task: str) -> bool:
        return all(
            self.record.find(case, task, self._told(task), generated=self._plan.generated) is not None
            for case in cases(self._plan)
        )

    def keep(self, cells: Sequence[Cell]) -> str:
        """Add the cells to `loradex.evaluations`; the run they are under."""
        what = json.dumps(asdict(replace(self.record.origin, defaults=None)), sort_keys=True)
        run = f"{self.record.origin.rows}-{hashlib.sha256(what.encode()).hexdigest()[:12]}"
        store_cells(self._connection, run, cells)
        return run

    def unmeasured(self) -> int:
        """How many pairs of the plan's tasks and active adapters have no affinity."""
        known = AdapterStore(self._connection).affinities(self._settings.base_model)
        adapters = self.active_adapters()
        pairs = [(card.name, one.sha256) for card in self._plan.cards.values() for one in adapters]
        return sum(pair not in known for pair in pairs)

    def unlisted(self) -> list[str]:
        """Names of active adapters whose cards do not say which rows they were trained on; of test rows no matter."""
        return without_rows(self._connection, self._settings.base_model) if self._plan.held_out else []

    def shared_rows(self) -> dict[str, tuple[int, int]]:
        """Task → how many of the held-out rows that are asked made the task's affinities too, and how many are asked.

        Tasks of which that is none are left out, and those whose file is not there; of test rows none is held out.

        Raises:
            ExampleFileError: A row is refused.
        """
        found = {}
        for card in self._plan.cards.values() if self._plan.held_out else ():
            if not self._file(card).is_file():
                continue
            rows, limit = self._unseen(card), self._plan.limit
            if common := shared(rows, limit, self._measured_on.get(card.name, 0)):
                found[card.name] = (common, min(limit or len(rows), len(rows)))
        return found

    def asked(self, card: TaskCard) -> list[Example]:
        """The rows that the plan asks: the first of a test file, of held-out rows those behind the affinities'."""
        if not self._plan.held_out:
            return read_rows(self._file(card), card)[: self._plan.limit]
        return held_out(self._unseen(card), self._plan.limit, self._measured_on.get(card.name, 0))

    def active_adapters(self) -> list[StoredAdapter]:
        """Those that may answer."""
        return [
            adapter
            for adapter in AdapterStore(self._connection).find(states=("active",))
            if adapter.base_model == self._settings.base_model
        ]

    def affinities(self, rows: int, *, again: bool) -> Iterator[tuple[str, StoredAdapter, Affinity]]:
        """Measure the active adapters' affinity to the plan's tasks and keep it in the database.

        Args:
            rows: Of each task, as many that no adapter of it was trained on, drawn with a seed.
            again: Also those pairs that were measured before.

        Yields:
            Task, adapter and figure of every pair, measured now or before.

        Raises:
            InvalidArgumentError: A task has no row left.
            JobFailedError: A row could not be answered.
        """
        base_model = self._settings.base_model
        store = AdapterStore(self._connection)
        known = {} if again else store.affinities(base_model)
        adapters = self.active_adapters()
        # No model is loaded, and no task measured, before every task is known to have rows.
        asked = {
            card.name: self._left_out(card, rows)
            for card in self._plan.cards.values()
            if any((card.name, adapter.sha256) not in known for adapter in adapters)
        }
        if asked:
            self._engine.bank.ensure(
                {one.sha256: self._roots.locate(one.uri, one.sha256) for one in adapters}
            )
        for card in self._plan.cards.values():
            questions: Sequence[Question] = ()
            for adapter in adapters:
                found = known.get((card.name, adapter.sha256))
                if found is None:
                    questions = questions or self._questions(card, asked[card.name])
                    found = measure_affinity(self._engine, questions, self._identity.frame, adapter.sha256)
                    store.put_affinities(base_model, {(card.name, adapter.sha256): found})
                yield card.name, adapter, found

    def _subject(self, card: TaskCard) -> Subject:
        rows = self.asked(card)
        questions = self._questions(card, rows)
        if not questions:
            raise InvalidArgumentError(
                f"{card.name}: no row to ask in its {self._kind} file"
                + (", since adapters were trained on each of them" if self._plan.held_out else "")
                + "; add rows, or leave it out with --task"
            )
        if self._plan.held_out:
            self._hidden.clear()
            self._hidden.update((card.name, row.id, row_hash(row, card)) for row in rows)
        prompts = [question.prompt for question in questions]
        vectors = embed(prompts, question_encoder_at(self._encoder), self._vectors, lambda _: None)
        return Subject(
            card, questions, [vectors[prompt] for prompt in prompts], self._adapters.get(card.name, [])
        )

    def _told(self, name: str) -> Asked:
        """What is asked under a name, by hashes; a file that is not there is no rows that could differ."""
        if name not in self._hashes:
            card = self._plan.cards[name]
            self._hashes[name] = Asked.of(card, self.asked(card) if self._file(card).is_file() else None)
        return self._hashes[name]

    def _unseen(self, card: TaskCard) -> list[Example]:
        """Training rows that no adapter of the task has seen."""
        seen = rows_trained_on(self._connection, self._settings.base_model, card.name)
        return read_rows(self._file(card), card, seen)

    def _left_out(self, card: TaskCard, count: int) -> list[Example]:
        rows = drawn(self._unseen(card), count)
        if not rows:
            raise InvalidArgumentError(
                f"{card.name}: no row to measure affinities on in {self._file(card)}, since adapters were trained on "
                "each of them; add rows, or name other tasks with --task"
            )
        return rows

    def _file(self, card: TaskCard) -> Path:
        return file_of(self._plan.data, card.name, self._kind)

    def _questions(self, card: TaskCard, rows: Sequence[Example]) -> list[Question]:
        return [question_of(row, card, self._engine.text.count) for row in rows]

    @cached_property
    def _kind(self) -> str:
        return "train" if self._plan.held_out else "test"

    @cached_property
    def _measured_on(self) -> dict[str, int]:
        """Task → rows of the draw that its affinities were measured on; those of retired adapters do not count."""
        known = AdapterStore(self._connection).affinities(self._settings.base_model)
        active = {one.sha256 for one in self.active_adapters()}
        rows: dict[str, int] = {}
        for (task, sha256), affinity in known.items():
            if sha256 in active:
                rows[task] = max(rows.get(task, 0), affinity.n)
        return rows

    @cached_property
    def _model(self) -> Path:
        return self._settings.base_model_path or shipped_model(self._settings.home / "cache" / "models")

    @cached_property
    def _engine(self) -> Engine:
        settings = self._settings
        return Engine.load(self._model, settings.device, settings.form, settings.bank_bytes, settings.threads)

    @cached_property
    def _identity(self) -> WorkerIdentity:
        settings = self._settings
        return register_models(
            database_address(settings),
            WorkerIdentity(
                worker="evaluation",
                base_model=settings.base_model,
                base_model_revision=self._engine.files.revision,
                encoder=settings.encoder,
                encoder_revision=self._facts.revision,
                dimensions=self._facts.dimensions,
                context_length=self._engine.context_length,
                frame=settings.frame,
                device=self._engine.device.type,
                dtype=self._engine.dtype,
                attention=self._engine.attention,
                quantization=self._engine.quantization,
                device_map=self._engine.device_map,
                versions=versions(self._engine.files, packages_of(self._engine.quantization)),
            ),
        )

    @cached_property
    def _asker(self) -> Asker:
        settings = self._settings
        if not self._in_process:
            return AsJobs(self._resources.enter_context(Client(settings=settings)))
        router = Router(self._connection, settings.base_model, settings.encoder, self._hidden)
        return InProcess(router, self._engine, self._roots, self._identity.frame)


@dataclass(frozen=True)
class Share:
    """What one of several processes is told; called, it measures tasks in a session of its own."""

    settings: WorkerSettings
    plan: Plan
    record: Path | None
    in_process: bool
    processes: int

    def __call__(self, tasks: Iterator[str], advance: Callable[[str, float], None]) -> Iterator[Cell]:
        threads = self.settings.threads or max(1, (os.cpu_count() or 1) // self.processes)
        settings = self.settings.model_copy(update={"threads": threads})
        with Session(settings, self.plan, self.record, in_process=self.in_process, writing=False) as session:
            yield from session.cells_of(tasks, advance)
