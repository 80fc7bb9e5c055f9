"""An evaluation: every task, every method, one protocol."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from evaluation.methods import Adapters, method_of
from evaluation.questions import Question, by_length, read_questions
from evaluation.scoring import interval, is_right
from library.cards import TaskCard
from worker.engine.engine import Engine

CHUNK = 64
IN_DOMAIN = "in-domain"
SETTINGS = (IN_DOMAIN,)


@dataclass(frozen=True)
class Cell:
    """One number of the table.

    Attributes:
        setting: What was available.
        method: What answered.
        task: On whose test rows.
        family: The task's family.
        metric: accuracy or exact_match.
        n: Rows asked.
        score: Share answered right.
        low: Lower end of the 95 % interval.
        high: Upper end.
        seconds: Time it took.
        dtype: Numbers the model computed in.
        adapter: Content hash of the task's adapter; None for `base`.
    """

    setting: str
    method: str
    task: str
    family: str
    metric: str
    n: int
    score: float
    low: float
    high: float
    seconds: float
    dtype: str
    adapter: str | None


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
        cards: Tasks by name.
        data: Directory of `TASK.test.jsonl`.
        methods: Names.
        limit: Rows a task at most.
        frame: The base model's frame.
        seed: Of the intervals.
    """

    cards: Mapping[str, TaskCard]
    data: Path
    methods: Sequence[str]
    limit: int | None
    frame: str
    seed: int = 0


def evaluate(
    plan: Plan,
    engine: Engine,
    adapters: Adapters,
    done: "Record",
    advance: Callable[[str, int, int], None],
) -> Iterator[Cell]:
    """Yield the cells task by task; those that are on record are not measured again.

    Args:
        plan: What is measured.
        engine: What answers; it gets the adapters here.
        adapters: The library.
        done: Cells measured before.
        advance: Told `task method`, rows asked and rows to ask, after each chunk.

    Raises:
        UnknownNameError: A method or an adapter is missing.
        ExampleFileError: A test row is refused.
        JobFailedError: The engine could not answer a row.
    """
    methods = {name: method_of(name, engine.dtype, adapters) for name in plan.methods}
    for card in plan.cards.values():
        for name, method in methods.items():
            adapter = adapters.of_task.get(card.name) if name == "own" else None
            found = done.find(card.name, name, engine.dtype, plan.limit, adapter)
            if found is not None:
                yield found
                continue
            if adapter is not None:
                engine.bank.ensure({adapter: adapters.directories[adapter]})
            questions = read_questions(
                plan.data, card, lambda text: len(engine.text.prompt(text)), plan.limit
            )
            started = time.monotonic()
            right: list[bool] = []
            for chunk in _chunks(by_length(questions)):
                answers = engine.answer(
                    [question.row(plan.frame, method.recipe(question)) for question in chunk]
                )
                right += [is_right(*pair) for pair in zip(chunk, answers, strict=True)]
                advance(f"{card.name} {name}", len(right), len(questions))
            low, high = interval(right, plan.seed)
            cell = Cell(
                setting=IN_DOMAIN,
                method=name,
                task=card.name,
                family=card.family,
                metric=card.metric,
                n=len(right),
                score=sum(right) / len(right),
                low=low,
                high=high,
                seconds=round(time.monotonic() - started, 2),
                dtype=engine.dtype,
                adapter=adapter,
            )
            done.add(cell, plan.limit)
            yield cell


def _chunks(questions: Sequence[Question]) -> Iterator[Sequence[Question]]:
    for start in range(0, len(questions), CHUNK):
        yield questions[start : start + CHUNK]


class Record:
    """Cells on disk, one JSON object a line, so that a stopped evaluation goes on.

    Args:
        path: The file; None keeps nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._cells: dict[tuple[str, str, str, int | None, str | None], Cell] = {}
        if path is not None and path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                document = json.loads(line)
                limit = document.pop("limit")
                self._keep(Cell(**document), limit)

    def find(self, task: str, method: str, dtype: str, limit: int | None, adapter: str | None) -> Cell | None:
        """The cell measured before under the same conditions."""
        return self._cells.get((task, method, dtype, limit, adapter))

    def add(self, cell: Cell, limit: int | None) -> None:
        """Remember a cell, on disk at once."""
        self._keep(cell, limit)
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(asdict(cell) | {"limit": limit}) + "\n")

    def _keep(self, cell: Cell, limit: int | None) -> None:
        self._cells[cell.task, cell.method, cell.dtype, limit, cell.adapter] = cell
