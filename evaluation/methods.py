"""What answers a test row: a method names a mixture for a question.

`base` and `own` need no retrieval. A method that retrieves gets its mixtures from the SQL functions that
serve jobs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from db.errors import UnknownNameError
from evaluation.questions import Question
from library.adapter_files import content_hash
from worker.engine.recipe import Recipe
from worker.recipes import recipe_of

DENSITY = 0.5


@dataclass(frozen=True)
class Adapters:
    """A library's adapters.

    Attributes:
        directories: Content hash → directory.
        of_task: Task → content hash.
    """

    directories: Mapping[str, Path]
    of_task: Mapping[str, str]

    @classmethod
    def below(cls, directory: Path) -> "Adapters":
        """The adapters in `directory`/TASK."""
        of_task = {
            path.parent.name: content_hash(path.parent)
            for path in sorted(directory.glob("*/adapter_config.json"))
        }
        return cls({sha256: directory / task for task, sha256 in of_task.items()}, of_task)


class Method(Protocol):
    """A way to choose adapters."""

    def recipe(self, question: Question) -> Recipe:
        """The mixture that answers this question."""
        ...


@dataclass(frozen=True)
class Base:
    """The untouched base model."""

    dtype: str

    def recipe(self, question: Question) -> Recipe:  # noqa: ARG002 - the same for all
        return recipe_of("base", DENSITY, self.dtype, ())


@dataclass(frozen=True)
class Own:
    """The adapter of the question's own task: the oracle."""

    dtype: str
    adapters: Adapters

    def recipe(self, question: Question) -> Recipe:
        if question.task not in self.adapters.of_task:
            raise UnknownNameError(f"no adapter for the task {question.task}; train one with loradex train")
        part = {"sha256": self.adapters.of_task[question.task], "weight": 1.0}
        return recipe_of("own", DENSITY, self.dtype, [part])


METHODS = ("base", "own")


def method_of(name: str, dtype: str, adapters: Adapters) -> Method:
    """The method of that name.

    Raises:
        UnknownNameError: There is none.
    """
    if name == "base":
        return Base(dtype)
    if name == "own":
        return Own(dtype, adapters)
    raise UnknownNameError(f"no method {name!r}; use {', '.join(METHODS)}")
