"""From a task's example file to token rows: the held-out tenth, rendering, hashes."""

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from loradex.errors import TrainingDataError
from loradex.library.cards import Normalization, TaskCard
from loradex.library.example_file import SUFFIXES, file_of, load_examples
from loradex.library.examples import Example
from loradex.library.rendered import example_sha256
from loradex.worker.engine.choose import normalised
from loradex.worker.engine.framed import Framed
from loradex.worker.engine.text import Text
from loradex.worker.engine.training.branches import Branches

MIN_EXAMPLES = 20
TEST_FILES = tuple(f".test{suffix}" for suffix in SUFFIXES)


@dataclass(frozen=True)
class TaskRow:
    """One example, ready for the model.

    Attributes:
        id: Source reference.
        sha256: Hash of the uncut prompt and the answer, as in the `examples` table.
        branches: Prompt and what is ranked, or the right answer alone for an open question.
        shares: What each branch's log-likelihood is multiplied by to be the score `choose` ranks.
        label: Index of the right branch.
        ending: Prompt and right answer with the end-of-text token.
        accepted: Accepted answers of an open question.
    """

    id: str
    sha256: str
    branches: Branches
    shares: tuple[float, ...]
    label: int
    ending: Branches
    accepted: tuple[str, ...]

    @property
    def digest(self) -> str:
        """Hex SHA-256 over all that a run makes of it: another frame, card or tokenizer gives other tokens."""
        return hashlib.sha256(repr(self).encode()).hexdigest()


def training_file(directory: Path, task: str) -> Path:
    """The task's training file in a directory.

    Raises:
        TrainingDataError: It is missing, or is a test file under another name.
    """
    path = file_of(directory, task, "train")
    refuse_test_file(path)
    if not path.is_file():
        raise TrainingDataError(
            f"{path}: no such file; --data names a directory with TASK.train.jsonl or .csv"
        )
    return path


def refuse_test_file(path: Path) -> None:
    """Never train on a test file, whatever the link to it is called.

    Raises:
        TrainingDataError: The path, or what it leads to, is named like a test file; or it is one
            file with the test file beside it.
    """
    named = path.name.endswith(TEST_FILES) or path.resolve().name.endswith(TEST_FILES)
    beside = path.with_name(path.name.replace(".train.", ".test."))
    if named or (path.exists() and beside != path and beside.exists() and path.samefile(beside)):
        raise TrainingDataError(f"{path}: a test file; train on *.train.jsonl or *.train.csv only")


def split_held_out(examples: Sequence[Example], seed: int) -> tuple[list[Example], list[Example]]:
    """Shuffle by the seed and hold out a tenth: (for training, held out).

    Raises:
        TrainingDataError: Too few examples to hold any out.
    """
    if len(examples) < MIN_EXAMPLES:
        raise TrainingDataError(f"{len(examples)} examples; training needs at least {MIN_EXAMPLES}")
    order = list(examples)
    random.Random(seed).shuffle(order)  # noqa: S311
    held_out = len(order) // 10
    return order[held_out:], order[:held_out]


def read_task(directory: Path, card: TaskCard, seed: int) -> tuple[list[Example], list[Example]]:
    """The task's examples: (for training, held out)."""
    return split_held_out(load_examples(training_file(directory, card.name), {card.name: card}), seed)


def tokenise(example: Example, card: TaskCard, text: Text, end: int, frame: str) -> TaskRow:
    """Render one example within the card's prompt limit and turn it into token ids.

    Args:
        example: The example.
        card: Its task.
        text: The base model's tokenizer, as answering uses it.
        end: Token that ends a text.
        frame: The base model's frame.

    Raises:
        TaskCardError: The example does not fit the card.
    """
    plain = card.render_within(example.fields, text.count, card.max_prompt_tokens)
    target = card.target(example)
    choices = card.answer_choices(example) or [target]
    framed = Framed.of(frame, plain)
    answers = tuple(text.answer(framed.choice(choice)) for choice in choices)
    kind: Normalization = card.choices.normalization if card.choices else "tokens"
    context = tuple(text.prompt(framed))
    shares = (
        normalised(1.0, choice, len(answer), kind) for choice, answer in zip(choices, answers, strict=True)
    )
    return TaskRow(
        id=example.id,
        sha256=example_sha256(card.render(example.fields), target),
        branches=Branches(context, answers),
        shares=tuple(shares),
        label=example.label or 0,
        ending=Branches(context, ((*text.answer(framed.choice(target)), end),)),
        accepted=tuple(example.answers),
    )
