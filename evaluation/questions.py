"""Rows of example files as questions to the engine."""

from collections.abc import Callable
from dataclasses import dataclass

from loradex.library.cards import Metric, TaskCard
from loradex.library.examples import Example
from loradex.worker.engine.framed import Framed
from loradex.worker.engine.recipe import Recipe
from loradex.worker.engine.rows import Normalization, Row

OPTIONS = "options"
"""Field of a prompt that lists an example's choices."""


@dataclass(frozen=True)
class Question:
    """One row.

    Attributes:
        task: Its task.
        source_ref: Which row.
        prompt: Rendered prompt, cut to the card's limit; without the frame.
        choices: What is ranked; empty for an open question.
        normalization: Of the choices' scores.
        label: Index of the right choice.
        answers: Accepted answers of an open question.
        metric: How what is written is judged.
        max_new_tokens: Tokens it may have.
    """

    task: str
    source_ref: str
    prompt: str
    choices: tuple[str, ...]
    normalization: Normalization
    label: int
    answers: tuple[str, ...]
    metric: Metric
    max_new_tokens: int

    def row(self, frame: str, recipe: Recipe, *, written: bool = False) -> Row:
        """What the engine is asked; with `written` to write, though there are choices."""
        prompt = Framed.of(frame, self.prompt)
        if written or not self.choices:
            return Row(prompt, recipe, max_new_tokens=self.max_new_tokens)
        return Row(prompt, recipe, kind="choose", choices=self.choices, normalization=self.normalization)


def question_of(example: Example, card: TaskCard, count_tokens: Callable[[str], int]) -> Question:
    """One row under its card."""
    return Question(
        task=card.name,
        source_ref=example.id,
        prompt=card.render_within(_fields(example), count_tokens, card.max_prompt_tokens),
        choices=tuple(card.answer_choices(example) or ()),
        normalization=card.choices.normalization if card.choices else "tokens",
        label=example.label or 0,
        answers=tuple(example.answers),
        metric=card.metric,
        max_new_tokens=card.answer_tokens,
    )


def _fields(example: Example) -> dict[str, str]:
    """What a prompt may name: the example's fields, and its options where it has no field of that name."""
    return {OPTIONS: "\n".join(f"- {choice}" for choice in example.choices or ())} | example.fields
