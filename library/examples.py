"""Examples: one JSON object a line, read and checked whole before anybody uses a row."""

import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from loradex.errors import ExampleFileError

MAX_TEXT_CHARACTERS = 100_000


def _clean(text: str) -> str:
    if not text.strip():
        raise ValueError("empty text")
    if "\x00" in text:
        raise ValueError("a NUL byte, which Postgres cannot store")
    if len(text) > MAX_TEXT_CHARACTERS:
        raise ValueError(f"{len(text)} characters; the limit is {MAX_TEXT_CHARACTERS}")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("half a surrogate pair, which is not a character") from None
    return text


Text = Annotated[str, AfterValidator(_clean)]


class Example(BaseModel):
    """One row of an examples file.

    Attributes:
        id: Source reference, unique within the task, e.g. `rte-train-511`.
        task: Name of its task card.
        family: Group of related tasks.
        fields: What the card's prompt is made of.
        choices: Labels or option texts; None for an open question.
        label: Index of the right choice.
        answers: Accepted answers, the first the preferred one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    id: Text
    task: Text
    family: Text
    fields: Annotated[dict[Text, Text], Field(min_length=1)]
    choices: Annotated[list[Text], Field(min_length=2)] | None
    label: int | None
    answers: Annotated[list[Text], Field(min_length=1)]

    @model_validator(mode="after")
    def _label_fits_choices(self) -> Self:
        if (self.label is None) != (self.choices is None):
            raise ValueError("choices and label stand together or not at all")
        if self.choices is not None and self.label is not None:
            if not 0 <= self.label < len(self.choices):
                raise ValueError(f"label {self.label} is outside the {len(self.choices)} choices")
            if len(set(self.choices)) != len(self.choices):
                raise ValueError("two choices are equal")
        return self


def _reason(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    what = str(first["msg"]).removeprefix("Value error, ")
    return f"{where}: {what}" if where else what


def numbered_examples(path: Path, tasks: Collection[str] | None = None) -> Iterator[tuple[int, Example]]:
    """Yield line number and row of a JSONL file in order; blank lines are skipped.

    Args:
        path: The file, UTF-8.
        tasks: Names of known tasks; None accepts any.

    Raises:
        ExampleFileError: The file cannot be read, or a line is refused; it names file, line and reason.
    """
    line = 0
    try:
        with path.open("rb") as stream:
            for line, raw in enumerate(stream, start=1):
                if raw.strip():
                    yield line, _parse(path, line, raw, tasks)
    except OSError as error:
        raise ExampleFileError(path, line, error.strerror or str(error)) from None


def read_examples(path: Path, tasks: Collection[str] | None = None) -> Iterator[Example]:
    """Yield the rows of a JSONL file in order, as `numbered_examples` does."""
    return (example for _, example in numbered_examples(path, tasks))


def _parse(path: Path, line: int, raw: bytes, tasks: Collection[str] | None) -> Example:
    try:
        document = json.loads(raw.decode("utf-8"))
    except UnicodeDecodeError:
        raise ExampleFileError(path, line, "not UTF-8") from None
    except (json.JSONDecodeError, RecursionError) as error:
        raise ExampleFileError(path, line, f"not JSON: {error}") from None
    try:
        example = Example.model_validate(document)
    except ValidationError as error:
        raise ExampleFileError(path, line, _reason(error)) from None
    if tasks is not None and example.task not in tasks:
        raise ExampleFileError(path, line, f"unknown task {example.task!r}; add a task card for it first")
    return example


def load_examples(path: Path, tasks: Collection[str] | None = None) -> list[Example]:
    """All rows of a file, checked whole: a source reference may stand there once.

    Raises:
        ExampleFileError: See `read_examples`; also for a repeated id.
    """
    seen: set[tuple[str, str]] = set()
    rows: list[Example] = []
    for line, example in numbered_examples(path, tasks):
        if (example.task, example.id) in seen:
            raise ExampleFileError(path, line, f"id {example.id!r} stands there twice")
        seen.add((example.task, example.id))
        rows.append(example)
    return rows
