"""Examples as the database keeps them: the rendered prompt, its answer, and one hash over both."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from loradex.errors import ExampleFileError, TaskCardError
from loradex.library.cards import TaskCard
from loradex.library.examples import numbered_examples

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
    """All examples of a JSONL file, checked whole before one is returned.

    Args:
        path: The file.
        cards: Task cards by name.
        task: If given, a row of another task is an error.

    Raises:
        ExampleFileError: A line is refused; it names file, line and reason.
    """
    rendered: dict[tuple[str, str], RenderedExample] = {}
    for line, example in numbered_examples(path, cards):
        if task is not None and example.task != task:
            raise ExampleFileError(path, line, f"its task is {example.task!r}, not {task!r}")
        if (example.task, example.id) in rendered:
            raise ExampleFileError(path, line, f"id {example.id!r} stands there twice")
        card = cards[example.task]
        try:
            row = RenderedExample(
                line, example.task, example.id, card.render(example.fields), card.target(example)
            )
        except TaskCardError as error:
            raise ExampleFileError(path, line, str(error)) from None
        rendered[row.task, row.source_ref] = row
    return list(rendered.values())
