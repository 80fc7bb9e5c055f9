"""What an evaluation measures: settings, methods, options, rows."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from loradex.library.cards import TaskCard

IN_DOMAIN = "in-domain"
SEMI_OOD = "semi-ood"
OOD = "ood"
SETTINGS = (IN_DOMAIN, SEMI_OOD, OOD)


@dataclass(frozen=True)
class Options:
    """Settings of the routing; what is None takes the database's default.

    Attributes:
        k: Neighbours that vote.
        top_p: Mass of the nucleus.
        temperature: Softness of the votes.
        density: Share of entries a trimming merge keeps.
    """

    k: int | None = None
    top_p: float | None = None
    temperature: float | None = None
    density: float | None = None

    def given(self) -> dict[str, float]:
        """Those that are not the database's to choose."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
        cards: Tasks by name.
        data: Directory of `TASK.test.jsonl` or `.csv`, or of `TASK.train.*` where rows are held out.
        settings: Some of `SETTINGS`.
        methods: Some of `METHODS`.
        limit: Rows a task at most.
        options: Each is measured.
        held_out: Ask training rows that no adapter was trained on, taken out of the index, instead of test
            rows.
        generated: Also let the model write the answers of questions with choices.
    """

    cards: Mapping[str, TaskCard]
    data: Path
    settings: Sequence[str]
    methods: Sequence[str]
    limit: int | None
    options: Sequence[Options] = (Options(),)
    held_out: bool = False
    generated: bool = False


@dataclass(frozen=True)
class Case:
    """One way to answer: where, by what, and with which options."""

    setting: str
    method: str
    options: Options

    def exclusions(self, task: str, adapters: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """What a question of this task may not use.

        `semi-ood` keeps the task's examples and takes its adapters away; `ood` takes both.
        """
        if self.setting == IN_DOMAIN:
            return {}
        without_adapters = {"exclude_adapters": tuple(adapters)}
        return (
            without_adapters if self.setting == SEMI_OOD else {"exclude_tasks": (task,), **without_adapters}
        )


def cases(plan: Plan) -> list[Case]:
    """Every case of the plan, setting by setting.

    `base` and `own` look at neither neighbours nor exclusions, so they are measured once, as in-domain.
    """
    fixed = [Case(IN_DOMAIN, method, Options()) for method in plan.methods if method in FIXED]
    return fixed + [
        Case(setting, method, options)
        for setting in plan.settings
        for options in plan.options
        for method in plan.methods
        if method not in FIXED
    ]


FIXED = ("base", "own")
"""Methods that answer alike in every setting."""
