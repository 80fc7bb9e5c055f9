"""An example in our form, and what its texts may be."""

from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

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


def outside(label: int, choices: int) -> str:
    """What to say of a label that is none of so many choices."""
    return f"label {str(label)[:20]} is outside the {choices} choices (0 to {choices - 1})"


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
                raise ValueError(outside(self.label, len(self.choices)))
            if len(set(self.choices)) != len(self.choices):
                raise ValueError("two choices are equal")
        return self
