"""What an evaluation measures: settings, methods, options, rows."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from loradex.library.cards import TaskCard

IN_DOMAIN = "in-domain"
SEMI_OOD = "semi-ood"
OOD = "ood"
UNSEEN = "unseen"
TRAINED = (IN_DOMAIN, SEMI_OOD, OOD)
"""Settings of tasks that have adapters."""
SETTINGS = (*TRAINED, UNSEEN)


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
        cards: What is asked by its name: a task's card, or of an unseen task one of its wordings (see `wordings`).
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

        `semi-ood` keeps the task's examples and takes its adapters away; `ood` takes both. Of a task that is `unseen`
        there is nothing to take.
        """
        if self.setting in {IN_DOMAIN, UNSEEN}:
            return {}
        without_adapters = {"exclude_adapters": tuple(adapters)}
        return (
            without_adapters if self.setting == SEMI_OOD else {"exclude_tasks": (task,), **without_adapters}
        )


def cases(plan: Plan) -> list[Case]:
    """Every case of the plan, setting by setting.

    `base` and `own` look at neither neighbours nor exclusions, so they are measured once. Of an unseen task there is no
    `own`.
    """
    fixed = [
        Case(place, method, Options())
        for place in dict.fromkeys(home(setting, "base") for setting in plan.settings)
        for method in plan.methods
        if method == "base" or (method == "own" and place != UNSEEN)
    ]
    return fixed + [
        Case(setting, method, options)
        for setting in plan.settings
        for options in plan.options
        for method in plan.methods
        if method not in FIXED
    ]


def home(setting: str, method: str) -> str:
    """Under which setting the cells of a method are kept."""
    return IN_DOMAIN if method in FIXED and setting != UNSEEN else setting


FIXED = ("base", "own")
"""Methods that answer alike in every setting."""
