"""What PEFT and transformers make of a family's rows, beside what the engine makes of them."""

import copy
import random
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from peft import PeftModel
from tests.families import targets, tiny
from tests.fix_models import TinyAdapter, byte_tokenizer, save_adapter

from loradex.worker.engine.engine import Engine
from loradex.worker.engine.recipe import Component, Recipe
from loradex.worker.engine.rows import Row, RowResult
from loradex.worker.engine.stream import Pace

NEW_TOKENS: Final = 16


@dataclass(frozen=True)
class Asked:
    """Rows for one family, and which adapters they name."""

    adapters: Sequence[TinyAdapter]
    rows: Sequence[Row]


MERGES: Final = ("cat", "linear", "ties", "magnitude_prune", None)
LENGTHS: Final = (3, 200, 17, 90, 40)
PIECE = 5
"""Tokens of a prompt that are read at a time where rows are alone."""


def asked(model: Any, root: Path, lengths: Sequence[int] = LENGTHS) -> Asked:
    """Three adapters of rank 4 and, for each way to merge and without a mixture, a text and a choice."""
    names = targets(model)
    adapters = [
        save_adapter(model, root / f"a{seed}", seed, r=4, lora_alpha=4, target_modules=names)
        for seed in (1, 2, 3)
    ]
    numbers = random.Random(5)
    rows: list[Row] = []
    for merge, length in zip(MERGES, lengths, strict=False):
        parts = zip(adapters, (0.6, -0.3, 0.5), strict=True) if merge else ()
        mixture = Recipe(
            merge or "cat", 0.5, "float32", tuple(Component(one.sha256, weight) for one, weight in parts)
        )

        def letters(count: int) -> str:
            return "".join(numbers.choice("abcdefghijklmnop ") for _ in range(count))

        rows.append(Row(letters(length), mixture, max_new_tokens=NEW_TOKENS))
        choices = tuple("q" + letters(count) for count in (4, 1, 7))
        rows.append(Row(letters(length), mixture, "choose", choices, "none"))
    return Asked(adapters, rows)


class Reference:
    """PEFT's merge and transformers' own generation, a row at a time."""

    def __init__(self, model: Any, adapters: Sequence[TinyAdapter]) -> None:
        first, *others = adapters
        self._bare = model
        self._tuned = PeftModel.from_pretrained(
            copy.deepcopy(model), first.directory, adapter_name=first.name
        ).eval()
        for adapter in others:
            self._tuned.load_adapter(adapter.directory, adapter_name=adapter.name)
        self._names = {adapter.sha256: adapter.name for adapter in adapters}

    def model(self, recipe: Recipe) -> Any:
        if not recipe.components:
            return self._bare
        tuned = self._tuned
        if "mix" in tuned.peft_config:
            tuned.set_adapter(next(iter(self._names.values())))
            tuned.delete_adapter("mix")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tuned.add_weighted_adapter(
                [self._names[part.sha256] for part in recipe.components],
                [part.weight for part in recipe.components],
                "mix",
                combination_type=recipe.merge,
                density=recipe.density,
            )
        tuned.set_adapter("mix")
        return tuned

    @torch.inference_mode()
    def text(self, row: Row, prompt: Sequence[int]) -> tuple[int, ...]:
        ids = torch.tensor([list(prompt)])
        written = self.model(row.recipe).generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=row.max_new_tokens,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=0,
        )
        return tuple(written[0, len(prompt) :].tolist())

    @torch.inference_mode()
    def scores(self, row: Row, prompt: Sequence[int], choices: Sequence[Sequence[int]]) -> tuple[float, ...]:
        """Log-likelihoods, each by a full pass over prompt and choice."""
        model = self.model(row.recipe)
        scores = []
        for choice in choices:
            ids = torch.tensor([[*prompt, *choice]])
            logits = model(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 : -1].double()
            scores.append(float(logits.log_softmax(-1)[range(len(choice)), list(choice)].sum()))
        return tuple(scores)


@dataclass
class Compared:
    """What the engine answered beside what PEFT and transformers did: rows alike, of all, and what failed."""

    texts: list[int] = field(default_factory=lambda: [0, 0])
    choices: list[int] = field(default_factory=lambda: [0, 0])
    failures: list[str] = field(default_factory=list)

    @property
    def exact(self) -> bool:
        return not self.failures and self.texts[0] == self.texts[1] and self.choices[0] == self.choices[1]


def compare(family: str, root: Path, lengths: Sequence[int] = LENGTHS, *, alone: bool = True) -> Compared:
    """The engine's answers to all rows beside each other, and alone with prompts in pieces, against the reference's.

    Raises:
        ModelRefusedError: The engine refuses the family.
    """
    model = tiny(family)
    questions = asked(model, root, lengths)
    directories = {adapter.sha256: adapter.directory for adapter in questions.adapters}

    def engine_of(pace: Pace | None) -> Engine:
        made = Engine(copy.deepcopy(model), byte_tokenizer(), bank_bytes=8 << 20, ends=frozenset(), pace=pace)
        made.bank.ensure(directories)
        return made

    engine = engine_of(None)
    reference = Reference(model, questions.adapters)
    passes = [engine.answer(questions.rows)]
    if alone:
        reading_on = engine_of(Pace(beside=PIECE, alone=PIECE))
        passes.append([reading_on.answer([row])[0] for row in questions.rows])
    compared = Compared()
    for place, row in enumerate(questions.rows):
        prompt = engine.text.prompt(row.prompt_text)
        if row.kind == "generate":
            wanted: tuple[float, ...] = reference.text(row, prompt)
        else:
            wanted = reference.scores(row, prompt, [engine.text.answer(choice) for choice in row.choices])
        for answers in passes:
            answer = answers[place]
            counts = compared.texts if row.kind == "generate" else compared.choices
            counts[1] += 1
            if not isinstance(answer, RowResult):
                compared.failures.append(f"{answer.code}: {answer.message}")
            elif row.kind == "generate":
                counts[0] += answer.token_ids == wanted
            elif answer.scores is not None:
                far = max(abs(one - other) for one, other in zip(answer.scores, wanted, strict=True))
                counts[0] += far <= 1e-4 * max(map(abs, wanted))
    return compared
