"""Examples as the database keeps them: the rendered prompt, its answer, and one hash over both."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from loradex.errors import TaskCardError
from loradex.library.cards import TaskCard
from loradex.library.example_file import Refusals, numbered_examples

SEPARATOR = b"\x1f"


@dataclass(frozen=True)
class RenderedExample:
    """One example of a task; `source_ref` is unique within the task, `line` is its place in the file."""

    line: int
    task: str
    source_ref: str
    prompt: str
    target: str

    @cached_property
    def sha256(self) -> str:
        return example_sha256(self.prompt, self.target)


def example_sha256(prompt: str, target: str) -> str:
    """Hex SHA-256 over prompt, the byte 0x1f and target, in UTF-8: what `loradex.examples.sha256` holds."""
    return hashlib.sha256(prompt.encode() + SEPARATOR + target.encode()).hexdigest()


def render_file(path: Path, cards: Mapping[str, TaskCard], task: str | None = None) -> list[RenderedExample]:
    """All examples of a file, checked whole before one is returned.

    Args:
        path: The file.
        cards: Task cards by name.
        task: If given, a row of another task is an error.

    Raises:
        ExampleFileError: Lines are refused; it names file, lines and reasons.
    """
    refusals = Refusals(path)
    rendered = []
    for line, example in numbered_examples(path, cards, task):
        card = cards[example.task]
        try:
            prompt, target = card.render(example.fields), card.target(example)
        except TaskCardError as error:
            refusals.add(line, str(error))
            continue
        rendered.append(RenderedExample(line, example.task, example.id, prompt, target))
    refusals.raise_any()
    return rendered
