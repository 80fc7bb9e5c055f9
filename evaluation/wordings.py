"""Tasks that nobody trained for, each asked in several wordings: a TOML file a task, a table a wording."""

import tomllib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from loradex.bounded_file import bounded_text
from loradex.errors import TaskCardError
from loradex.library.cards import MAX_CARD_BYTES, Choices, Metric, TaskCard

DIRECTORY = Path(str(files("loradex.evaluation") / "unseen"))
BETWEEN = "."
"""Between the names of task and wording."""


class Wording(BaseModel):
    """One way to ask.

    Attributes:
        prompt: As of a task card; `{options}` are an example's own options, a line each.
        choices: As of a task card.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: str
    choices: Choices | None = None


class Wordings(BaseModel):
    """One task in all its wordings; the other attributes are those of a task card."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    family: str
    metric: Metric
    max_prompt_tokens: int = 192
    wordings: dict[str, Wording] = Field(min_length=1)


def load_wordings(directory: Path = DIRECTORY) -> dict[str, TaskCard]:
    """`TASK.WORDING` → the card that asks so, by the names of files and in their order.

    Raises:
        TaskCardError: There is no file, or one is none of a task in wordings.
    """
    cards: dict[str, TaskCard] = {}
    for path in sorted(directory.glob("*.toml")):
        try:
            task = Wordings.model_validate(tomllib.loads(bounded_text(path, MAX_CARD_BYTES)))
            shared = task.model_dump(exclude={"wordings"})
            for name, wording in task.wordings.items():
                cards[f"{task.name}{BETWEEN}{name}"] = TaskCard.model_validate(
                    shared | wording.model_dump(exclude_none=True)
                )
        except OSError as error:
            raise TaskCardError(f"{path}: {error.strerror or error}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, ValidationError) as error:
            raise TaskCardError(f"{path}: not a task in wordings: {error}") from None
        if task.name != path.stem:
            raise TaskCardError(f"{path}: the task is named {task.name}; name and file must agree")
    if not cards:
        raise TaskCardError(f"{directory}: no task in wordings (*.toml) there")
    return cards


def in_all_wordings(cards: Mapping[str, TaskCard], names: Sequence[str] | None) -> list[str]:
    """The names, with that of a task standing for all its wordings."""
    return [
        name
        for one in names or ()
        for name in ([name for name, card in cards.items() if card.name == one] or [one])
    ]


def wording_of(name: str) -> str:
    """The wording in the name of what was asked; a task's own card has none."""
    return name.partition(BETWEEN)[2]


def task_of(name: str) -> str:
    """The task in the name of what was asked."""
    return name.partition(BETWEEN)[0]
