"""An evaluation: every task, every case, one protocol."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from statistics import fmean
from typing import Any, Protocol

from loradex.evaluation.cells import Cell, kept
from loradex.evaluation.origin import Asked
from loradex.evaluation.plan import Case, Plan, cases
from loradex.evaluation.record import Record
from loradex.evaluation.routing import Routing
from loradex.evaluation.scoring import Outcome, right, right_when_calibrated, right_when_written
from loradex.evaluation.subject import Subject
from loradex.library.cards import TaskCard

Advance = Callable[[str, float], None]


class Asker(Protocol):
    """Takes a task's questions to their outcomes."""

    def ask(
        self, subject: Subject, case: Case, *, written: bool, advance: Callable[[int], None]
    ) -> tuple[list[Routing], list[Outcome]]:
        """How each question was routed, and what came out."""
        ...


def evaluate(
    plan: Plan,
    subject_of: Callable[[TaskCard], Subject],
    asked_of: Callable[[str], Asked],
    asker: Callable[[], Asker],
    *,
    families: Mapping[str, str],
    record: Record,
    revision: str,
    advance: Advance,
) -> Iterator[Cell]:
    """Yield the cells task by task; those on record are not measured again.

    Args:
        plan: What is measured.
        subject_of: Reads a task's rows; called only where something is left to measure.
        asked_of: Says by hashes what is asked under a name.
        asker: Gives what answers; called only then, too.
        families: Task → family.
        record: Cells measured before; new ones are added.
        revision: Of the code.
        advance: Told `task setting method` and the share of a case that was done since the last time.

    Raises:
        UnknownNameError: A task without adapter is asked for `own`.
        ExampleFileError: A row is refused.
        JobFailedError: A row could not be answered.
    """
    for asked, card in plan.cards.items():
        subject = None
        for case in cases(plan):
            name = f"{asked} {case.setting} {case.method}"
            told = asked_of(asked)
            found = record.find(case, asked, told, generated=plan.generated)
            if found is None:
                subject = subject or subject_of(card)
                started = time.monotonic()
                routings, marks = _marks(subject, case, asker(), plan, partial(advance, name))
                found = Cell(
                    setting=case.setting,
                    method=case.method,
                    options=case.options.given(),
                    task=asked,
                    family=card.family,
                    metric=card.metric,
                    seconds=round(time.monotonic() - started, 2),
                    revision=revision,
                    origin=record.origin.of_case(case),
                    card=told.card,
                    asked=told.rows,
                    **marks,
                    **_routed(card, routings, families),
                )
                record.add(found)
            else:
                advance(name, 1)
            yield found


def _marks(
    subject: Subject, case: Case, asker: Asker, plan: Plan, advance: Callable[[float], None]
) -> tuple[list[Routing], dict[str, Any]]:
    """How the questions were routed, and how good the answers are."""
    questions = subject.questions
    twice = plan.generated and bool(questions[0].choices)
    steps = len(questions) * (2 if twice else 1)

    def step(done: int) -> None:
        advance(done / steps)

    routings, outcomes = asker.ask(subject, case, written=False, advance=step)
    found: dict[str, Any] = {
        "right": kept(right(questions, outcomes)),
        "calibrated": kept(right_when_calibrated(questions, outcomes)),
        "generated": None,
    }
    if twice:
        _, texts = asker.ask(subject, case, written=True, advance=step)
        found["generated"] = kept(right_when_written(questions, texts))
    return routings, found


def _routed(card: TaskCard, routings: Sequence[Routing], families: Mapping[str, str]) -> dict[str, Any]:
    """Where the questions were sent, on average."""
    mixture: dict[str, float] = defaultdict(float)
    tasks: dict[str, float] = defaultdict(float)
    for routing in routings:
        for part in routing.mixture:
            mixture[part["adapter"]] += part["weight"] / len(routings)
        for part in routing.distribution:
            tasks[part["task"]] += part["probability"] / len(routings)
    retrieved = [routing.distribution for routing in routings if routing.distribution]
    family = families.get(card.name, card.family)
    own_family = sum(mass for task, mass in tasks.items() if families.get(task) == family)
    return {
        "first": fmean(distribution[0]["task"] == card.name for distribution in retrieved)
        if retrieved
        else None,
        "own_mass": tasks.get(card.name, 0.0) if retrieved else None,
        "family_mass": own_family if retrieved else None,
        "nucleus": fmean(len(routing.mixture) for routing in routings),
        "mixture": _rounded(mixture),
        "tasks": _rounded(tasks),
    }


def _rounded(means: Mapping[str, float]) -> dict[str, float]:
    return {name: round(mean, 5) for name, mean in sorted(means.items(), key=lambda item: -item[1])}
