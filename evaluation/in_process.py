"""Questions through SQL and engine in this process, as a worker takes jobs, but each mixture once."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from loradex.errors import JobFailedError
from loradex.evaluation.methods import RIVALS
from loradex.evaluation.plan import Case
from loradex.evaluation.questions import Question
from loradex.evaluation.routing import Router, Routing
from loradex.evaluation.scoring import Outcome
from loradex.evaluation.subject import Subject
from loradex.library.adapter_roots import AdapterRoots
from loradex.worker.engine.engine import Engine
from loradex.worker.engine.recipe import Recipe
from loradex.worker.engine.rows import Row
from loradex.worker.isolation import Failure

CHUNK = 64
SUMS = frozenset({"linear", "cat"})


class InProcess:
    """Answers as a worker would, and remembers: one question under one mixture is asked once.

    Args:
        router: What Postgres decides.
        engine: What answers.
        roots: Where adapter files lie.
        frame: Around every prompt, with `{prompt}`.
    """

    def __init__(self, router: Router, engine: Engine, roots: AdapterRoots, frame: str) -> None:
        self._router = router
        self._engine = engine
        self._roots = roots
        self._frame = frame
        self._task = ""
        self._known: dict[Row, Outcome] = {}

    def ask(
        self, subject: Subject, case: Case, *, written: bool, advance: Callable[[int], None]
    ) -> tuple[list[Routing], list[Outcome]]:
        """How each question was routed, and what came out; `advance` is told how many are done.

        Raises:
            JobFailedError: The engine could not answer; a score that leaves rows out would not compare.
            AdapterChangedError: A file is not what was registered.
        """
        if subject.card.name != self._task:
            self._task = subject.card.name
            self._known.clear()
        if case.method in RIVALS:
            routings = self._router.rival(case.method, subject.vectors, **subject.exclusions(case))
        else:
            routings = self._router.jobs(subject.requests(case, written=written), subject.vectors)
        return routings, self._answers(subject.questions, routings, written=written, advance=advance)

    def _answers(
        self,
        questions: Sequence[Question],
        routings: Sequence[Routing],
        *,
        written: bool,
        advance: Callable[[int], None],
    ) -> list[Outcome]:
        places = {part["sha256"]: part["uri"] for routing in routings for part in routing.mixture}
        self._engine.bank.ensure({sha256: self._roots.locate(uri, sha256) for sha256, uri in places.items()})
        rows = [
            question.row(self._frame, self._recipe(routing), written=written)
            for question, routing in zip(questions, routings, strict=True)
        ]
        asked = sorted({row for row in rows if row not in self._known}, key=lambda row: len(row.prompt_text))
        advance(len(rows) - len(asked))
        for start in range(0, len(asked), CHUNK):
            chunk = asked[start : start + CHUNK]
            for row, answer in zip(chunk, self._engine.answer(chunk), strict=True):
                if isinstance(answer, Failure):
                    raise JobFailedError(answer.code, f"{self._task}: {answer.message}")
                text = answer.text if row.kind == "generate" else None
                self._known[row] = Outcome(answer.scores, text)
            advance(len(chunk))
        return [self._known[row] for row in rows]

    def _recipe(self, routing: Routing) -> Recipe:
        return canonical(Recipe.decided(vars(routing), routing.density, self._engine.dtype))


def canonical(recipe: Recipe) -> Recipe:
    """The recipe, or `cat` where that says the same: of one adapter every sum is that adapter.

    A density is dropped where no trim reads it.
    """
    if recipe.merge not in SUMS and recipe.components:
        return recipe
    if len(recipe.components) > 1:
        return replace(recipe, density=1.0)
    return replace(recipe, merge="cat", calibrated=False, density=1.0)
