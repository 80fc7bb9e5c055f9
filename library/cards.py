"""Task cards: how an example of a task becomes a prompt, its choices and its answer. One TOML file a task."""

import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from string import Formatter
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from loradex.bounded_file import bounded_text
from loradex.errors import TaskCardError, UnknownNameError
from loradex.library.examples import Example
from loradex.library.installed import TASKS_DIRECTORY
from loradex.library.model_json import finite, storable

GAP = " ... "
MAX_CARD_BYTES = 1 << 20

Normalization = Literal["none", "tokens", "bytes"]
Metric = Literal["accuracy", "exact_match", "f1", "rouge_l", "bleu"]


class Choices(BaseModel):
    """How a task's choices are worded and scored.

    Attributes:
        kind: `labels`: every example has the same labels, and `words` says how each is spelt to the model;
            `options`: the example's own option texts are ranked.
        normalization: What a choice's log-likelihood is divided by: nothing, its tokens or its UTF-8 bytes.
        words: Label as it stands in the examples → the word the model reads.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["labels", "options"]
    normalization: Normalization = "tokens"
    words: dict[str, str] = {}

    @model_validator(mode="after")
    def _words_fit_kind(self) -> Self:
        if (self.kind == "labels") != bool(self.words):
            raise ValueError("labels need words, options have none")
        if len(set(self.words.values())) != len(self.words):
            raise ValueError("two labels share one word")
        return self


class Source(BaseModel):
    """Where the data set lives on the Hugging Face hub, and under which licence.

    Attributes:
        dataset: Hub id.
        config: Configuration name, where the data set has several.
        splits: Split as it stands in a `source_ref` → split on the hub.
        fields: Field of an example → column on the hub (dots walk into nested columns, `a+b`
            joins two by a space).
        label: Column of the label's number, where there is one.
        options: Columns (or one nested column) of the option texts, where the task has options.
        answers: Column of the accepted answers of an open question.
        licence: As far as known.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    config: str | None = None
    splits: dict[str, str]
    fields: dict[str, str]
    label: str | None = None
    options: list[str] = []
    answers: str | None = None
    licence: str


class Training(BaseModel):
    """How much a task is trained by default; `loradex train` can be told otherwise.

    Attributes:
        loss: `answer`: likelihood of the right answer; `ranking`: cross-entropy over the choices' normalised
            log-likelihoods, plus a quarter of the former.
        max_examples: Training examples used, the held-out ones not counted; None means all.
        epochs: Times each is seen.
        learning_rate: Peak of the schedule.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    loss: Literal["answer", "ranking"] = "answer"
    max_examples: Annotated[int, Field(ge=1)] | None = None
    epochs: Annotated[int, Field(ge=1)] = 1
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 1e-3


class TaskCard(BaseModel):
    """One task: what the model is asked, what it may answer, how the answer is judged.

    Attributes:
        name: Task, as in the examples' `task`.
        family: Group of related tasks.
        metric: `accuracy` over choices; of a generated text `exact_match`, `f1`, `rouge_l` or `bleu`.
        answer_tokens: Tokens that training and evaluation let the model write as an answer.
        prompt: `str.format` template over the examples' fields.
        values: Field → its values → what the template shows instead.
        max_prompt_tokens: Tokens the rendered prompt may have in training and evaluation.
        choices: None for open questions.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]*$", max_length=63)]
    family: Annotated[str, Field(min_length=1)]
    metric: Metric
    prompt: Annotated[str, Field(min_length=1)]
    values: dict[str, dict[str, str]] = {}
    max_prompt_tokens: Annotated[int, Field(ge=16)] = 192
    answer_tokens: Annotated[int, Field(ge=1, le=2048)] = 16
    choices: Choices | None = None
    source: Source | None = None
    training: Training = Training()

    @model_validator(mode="after")
    def _metric_fits_choices(self) -> Self:
        if (self.metric == "accuracy") != (self.choices is not None):
            raise ValueError("accuracy needs choices, and only it")
        if not self.field_names:
            raise ValueError("the prompt names no field")
        return self

    @property
    def field_names(self) -> frozenset[str]:
        """Fields the prompt is made of."""
        return frozenset(name for _, name, _, _ in Formatter().parse(self.prompt) if name)

    def render(self, fields: Mapping[str, str]) -> str:
        """The prompt of these fields, without frame and answer.

        Raises:
            TaskCardError: A field the template names is missing.
        """
        shown = {name: self.values.get(name, {}).get(text, text) for name, text in fields.items()}
        try:
            return self.prompt.format_map(shown)
        except KeyError as error:
            raise TaskCardError(f"task {self.name}: the example has no field {error}") from None

    def render_within(self, fields: Mapping[str, str], count_tokens: Callable[[str], int], limit: int) -> str:
        """The prompt, with the middle of its longest fields cut out until it has at most `limit` tokens.

        Raises:
            TaskCardError: A field is missing, or the template alone is longer than the limit.
        """
        kept = dict(fields)
        prompt = self.render(kept)
        while (tokens := count_tokens(prompt)) > limit:
            longest = max(sorted(self.field_names), key=lambda name: len(kept[name]))
            text = kept[longest]
            surplus = max(1, round(len(text) * (tokens - limit) / tokens))
            half = (len(text) - surplus - len(GAP)) // 2
            if half < 1:
                raise TaskCardError(f"task {self.name}: a prompt does not fit into {limit} tokens")
            kept[longest] = text[:half].rstrip().removesuffix(GAP.strip()) + GAP + text[-half:].lstrip()
            shorter = self.render(kept)
            if len(shorter) >= len(prompt):
                raise TaskCardError(f"task {self.name}: a prompt does not fit into {limit} tokens")
            prompt = shorter
        return prompt

    def answer_choices(self, example: Example) -> list[str] | None:
        """What `choose` ranks for this example, in the example's order; None for an open question.

        Raises:
            TaskCardError: The example's choices are not the card's labels.
        """
        if self.choices is None:
            return None
        if not example.choices:
            raise TaskCardError(f"task {self.name}: example {example.id} has no choices")
        if self.choices.kind == "options":
            return list(example.choices)
        try:
            return [self.choices.words[label] for label in example.choices]
        except KeyError as error:
            raise TaskCardError(f"task {self.name}: the card has no word for the label {error}") from None

    def target(self, example: Example) -> str:
        """The right answer, as the model should say it.

        Raises:
            TaskCardError: The example has no label or no answer.
        """
        choices = self.answer_choices(example)
        if choices is None:
            if not example.answers:
                raise TaskCardError(f"task {self.name}: example {example.id} has no answer")
            return example.answers[0]
        if example.label is None:
            raise TaskCardError(f"task {self.name}: example {example.id} has no label")
        return choices[example.label]


def load_card(path: Path) -> TaskCard:
    """Read one card.

    Raises:
        TaskCardError: The file is missing, no TOML, or not a card of its own name.
    """
    try:
        told = tomllib.loads(bounded_text(path, MAX_CARD_BYTES), parse_float=finite)
        card = TaskCard.model_validate(storable(told))
    except OSError as error:
        raise TaskCardError(f"{path}: {error.strerror or error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "card"
        raise TaskCardError(f"{path}: {where}: {first['msg']}") from None
    except (ValueError, RecursionError) as error:
        raise TaskCardError(f"{path}: not TOML: {error}") from None
    if card.name != path.stem:
        raise TaskCardError(f"{path}: the card is named {card.name}; name and file must agree")
    return card


def load_cards(directory: Path = TASKS_DIRECTORY) -> dict[str, TaskCard]:
    """All cards of a directory, by task name, in the order of the names.

    Raises:
        TaskCardError: The directory has no card, or one is malformed.
    """
    cards = [load_card(path) for path in sorted(directory.glob("*.toml"))]
    if not cards:
        raise TaskCardError(f"{directory}: no task card (*.toml) there")
    return {card.name: card for card in cards}


def chosen_cards(cards: dict[str, TaskCard], tasks: Sequence[str] | None) -> dict[str, TaskCard]:
    """The cards of the named tasks, all if none is named; `UnknownNameError` if one has no card."""
    unknown = set(tasks or ()) - cards.keys()
    if unknown:
        raise UnknownNameError(
            f"no task card for {', '.join(sorted(unknown))}; there are: {', '.join(cards)}"
        )
    return {name: card for name, card in cards.items() if not tasks or name in tasks}
