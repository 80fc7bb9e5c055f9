"""Answers a batch whose rows may all have different mixtures, in one forward pass."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch

from loradex.errors import InvalidArgumentError, LoradexError, PromptTooLongError
from loradex.library.model_files import ModelFiles, read_whole
from loradex.worker.engine.architecture import Architecture
from loradex.worker.engine.bank import AdapterBank, Key
from loradex.worker.engine.choose import Chooser, Scored, normalised
from loradex.worker.engine.compose import Composer, check, keys_of
from loradex.worker.engine.forward import Forward
from loradex.worker.engine.generate import Generator, Writing
from loradex.worker.engine.head import logits_in_float32
from loradex.worker.engine.load import load_model
from loradex.worker.engine.modules import shapes_of
from loradex.worker.engine.questions import UNWANTED, Question
from loradex.worker.engine.recipe import Recipe
from loradex.worker.engine.reference import Reference
from loradex.worker.engine.rows import MergeReport, Row, RowResult
from loradex.worker.engine.sampling import require_tokens
from loradex.worker.engine.text import Text
from loradex.worker.engine.updates import Updates, UpdateSwitch, wrap
from loradex.worker.isolation import Failure, run_isolated

CHUNK_BYTES: Final = {"cpu": 1 << 20, "cuda": 1 << 28}
HOST_BYTES: Final = {"cpu": 0, "cuda": 4 << 30}
FACTOR_BYTES: Final = {"cpu": 1 << 30, "cuda": 8 << 30}
PREFILL_TOKENS: Final = 8192
DTYPES: Final = {"float32": torch.float32, "bfloat16": torch.bfloat16}

Answer = RowResult | Failure


class Engine:
    """A base model, its bank of adapters, and what answers with them. One thread at a time may use it.

    Args:
        model: A causal language model in eval mode; its linear modules are wrapped, its weights never
            touched.
        tokenizer: The model's tokenizer.
        bank_bytes: Bytes of the device that hold stacked adapters.
        host_bytes: Bytes of the host that hold parsed adapters; None takes what suits the device.
        ends: Tokens that end a text; None takes the model's and its tokenizer's.
        factor_bytes: Bytes of one batch's merged factors at most; None takes what suits the device.
        prefill_tokens: Tokens of one prefill at most, padding included.

    Raises:
        ModelRefusedError: A first question was not answered as transformers answers it.

    Attributes:
        files: What the model's directory was when it was read.
    """

    files = ModelFiles(revision="in memory", digest="in memory")

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        bank_bytes: int,
        host_bytes: int | None = None,
        ends: frozenset[int] | None = None,
        factor_bytes: int | None = None,
        prefill_tokens: int = PREFILL_TOKENS,
    ) -> None:
        parameter = next(model.parameters())
        self.device: torch.device = parameter.device
        self.dtype = str(parameter.dtype).removeprefix("torch.")
        self.model = model
        self.text = Text(tokenizer)
        kind = "cpu" if self.device.type == "cpu" else "cuda"
        architecture = Architecture.of(model)
        self._vocabulary = model.config.get_text_config().vocab_size
        logits_in_float32(model)
        reference = Reference(model, architecture)
        shapes = shapes_of(model, reference.ask)
        self._switch = UpdateSwitch()
        wrap(model, tuple(shapes), self._switch)
        host = HOST_BYTES[kind] if host_bytes is None else host_bytes
        self.bank = AdapterBank(shapes, self.device, parameter.dtype, bank_bytes, host)
        self._factor_bytes = FACTOR_BYTES[kind] if factor_bytes is None else factor_bytes
        self._composer = Composer(self.bank, CHUNK_BYTES[kind])
        self._forward = Forward(model, architecture, self.device)
        stops = _ends(model, tokenizer) if ends is None else ends
        self._generator = Generator(self._forward, self._switch, stops, prefill_tokens, self.text.raw)
        self._chooser = Chooser(self._forward, self._switch, prefill_tokens)
        reference.require(shapes, self._forward, self._chooser, self._switch)

    @classmethod
    def load(
        cls,
        model_path: Path | str,
        device: str,
        dtype: str,
        bank_bytes: int,
        threads: int = 0,
        *,
        known: ModelFiles | None = None,
    ) -> "Engine":
        """An engine for the model at a path; `device` may be auto, `threads` 0 leaves them to torch.

        `known` is what its files were when this process hashed them before.
        """
        if threads:
            torch.set_num_threads(threads)
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        load = partial(load_model, device=torch.device(device), dtype=DTYPES[dtype])
        (model, tokenizer), files = read_whole(Path(model_path), load, known)
        engine = cls(model, tokenizer, bank_bytes=bank_bytes)
        engine.files = files
        return engine

    @property
    def context_length(self) -> int:
        """Tokens a prompt and its answer may have together."""
        return self._forward.architecture.context

    def count_tokens(self, row: Row) -> int:
        """Tokens of the row's prompt."""
        return len(self.text.prompt(row.prompt_text))

    def answer(self, rows: Sequence[Row], unwanted: Callable[[int], bool] | None = None) -> list[Answer]:
        """Answers every row, in order; a row that cannot be answered fails alone.

        `unwanted` is asked before each token whether nobody wants the row at that place any more; such a row
        leaves the batch, and its answer is `UNWANTED`.

        What a row is told does not depend on the rows beside it: the mathematics is per row, and sums of
        unequal order differ by rounding only.
        """
        answers: list[Answer | None] = [None] * len(rows)
        questions: list[Question] = []
        for place, row in enumerate(rows):
            try:
                question = self._question(place, row)
                questions.append(
                    question if unwanted is None else replace(question, unwanted=partial(unwanted, place))
                )
            except LoradexError as error:
                answers[place] = Failure.of(error)
        for batch in self._batches(questions):
            asked = [question for question in batch if not question.unwanted()]
            for question in batch:
                answers[question.place] = UNWANTED
            for question, answer in zip(asked, self._isolated(asked), strict=True):
                answers[question.place] = answer
        return [answer for answer in answers if answer is not None]

    @torch.inference_mode()
    def compose(self, recipes: Sequence[Recipe]) -> tuple[Updates | None, list[MergeReport]]:
        """The updates of some recipes, without answering anything."""
        return self._composer.compose(recipes)

    @torch.inference_mode()
    def margin(self, row: Row, written: Sequence[int], one: int, other: int) -> float:
        """How much likelier token `one` is than `other` after the prompt and `written`; natural log."""
        ids = (*self.text.prompt(row.prompt_text), *written)
        updates, _ = self._composer.compose([row.recipe])
        try:
            scored = self._chooser.score([Question(0, row, ids, ((one,), (other,)))], updates)
        finally:
            self._switch.current = None
        if scored[0] is None:
            raise RuntimeError("a margin is always wanted")
        first, second = scored[0].likelihoods
        return first - second

    def _question(self, place: int, row: Row) -> Question:
        ids = tuple(self.text.prompt(row.prompt_text))
        if not ids:
            raise InvalidArgumentError("the prompt is empty; write one")
        choices: tuple[tuple[int, ...], ...] = ()
        if row.kind == "choose":
            if not row.choices or not all(choice.strip() for choice in row.choices):
                raise InvalidArgumentError("choose needs at least one choice, none of them blank")
            choices = tuple(self.text.answer(choice) for choice in row.choices)
        elif row.max_new_tokens < 1:
            raise InvalidArgumentError(f"max_new_tokens is {row.max_new_tokens}; give 1 or more")
        require_tokens(row, self._vocabulary)
        needed = len(ids) + (max(map(len, choices)) if choices else row.max_new_tokens)
        if needed > self.context_length:
            raise PromptTooLongError(
                f"prompt and answer need {needed} tokens, the model reads {self.context_length}; shorten them"
            )
        architecture = self._forward.architecture
        if architecture.is_long(needed) and not architecture.is_long(len(ids)):
            raise PromptTooLongError(
                f"prompt and answer need {needed} tokens, and the model reads texts of more than "
                f"{architecture.long_from} in another way; ask for a shorter answer, so that the text stays below"
            )
        if row.recipe.components and row.recipe.dtype != self.dtype:
            raise InvalidArgumentError(
                f"the recipe is for {row.recipe.dtype} and this engine computes in {self.dtype}"
            )
        check(self.bank, row.recipe)
        if len(set(keys_of(row.recipe))) > self.bank.capacity:
            raise InvalidArgumentError(
                f"the mixture is of {len(row.recipe.components)}, the bank holds {self.bank.capacity}; "
                "raise its byte budget"
            )
        return Question(place, row, ids, choices)

    def _batches(self, questions: Sequence[Question]) -> Iterator[list[Question]]:
        """Batches whose adapters fit into the bank, and their factors into memory; sorted for the model.

        A row that merges has factors of its own, and rows that share have those of the adapters they name;
        all rows are counted as both. Rows that the model reads in different ways are never in one batch.
        """
        for is_long in (False, True):
            yield from self._packed(
                [one for one in questions if self._forward.architecture.is_long(len(one.ids)) is is_long]
            )

    def _packed(self, questions: Sequence[Question]) -> Iterator[list[Question]]:
        batch: list[Question] = []
        named: set[Key] = set()
        for question in questions:
            keys = keys_of(question.row.recipe)
            more = named.union(keys)
            needed = (len(batch) + 1 + len(more)) * self.bank.slot_bytes
            if batch and (len(more) > self.bank.capacity or needed > self._factor_bytes):
                yield sorted(batch, key=_order)
                batch, more = [], set(keys)
            batch.append(question)
            named = more
        if batch:
            yield sorted(batch, key=_order)

    def _isolated(self, batch: list[Question]) -> list[Answer]:
        """The batch's answers; if it breaks, each row's alone, so that only the one at fault fails.

        A row whose logits are not finite is asked alone too: a number that overflowed may be a batch mate's.
        """
        answers = run_isolated(self._answer, batch)
        if len(batch) == 1:
            return answers
        return [
            run_isolated(self._answer, [question])[0] if answer is _NOT_FINITE else answer
            for question, answer in zip(batch, answers, strict=True)
        ]

    @torch.inference_mode()
    def _answer(self, batch: Sequence[Question]) -> list[Answer]:
        start = time.perf_counter()
        updates, reports = self._composer.compose([question.row.recipe for question in batch])
        merged = 1000 * (time.perf_counter() - start)
        try:
            answers: list[Answer] = []
            split = sum(question.row.kind == "choose" for question in batch)
            for part, work in ((slice(0, split), self._choose), (slice(split, len(batch)), self._generate)):
                if batch[part]:
                    answers += work(
                        batch[part], updates.rows(part) if updates else None, reports[part], merged
                    )
            return answers
        finally:
            self._switch.current = None

    def _choose(
        self,
        questions: Sequence[Question],
        updates: Updates | None,
        reports: Sequence[MergeReport],
        merged: float,
    ) -> list[Answer]:
        scored = self._chooser.score(questions, updates)
        return [_chosen(*one, merged) for one in zip(questions, scored, reports, strict=True)]

    def _generate(
        self,
        questions: Sequence[Question],
        updates: Updates | None,
        reports: Sequence[MergeReport],
        merged: float,
    ) -> list[Answer]:
        written = self._generator.generate(questions, updates)
        return [_written(*one, merged, self.text) for one in zip(questions, written, reports, strict=True)]


_NOT_FINITE: Final = Failure(
    "not_finite",
    "the mixture made the model's logits NaN or infinite; lower its weights or retire the adapter at fault",
)


def _chosen(question: Question, scored: Scored | None, report: MergeReport, merged: float) -> Answer:
    if scored is None or question.unwanted():
        return UNWANTED
    row = question.row
    if not all(torch.isfinite(torch.tensor(scored.likelihoods))):
        return _NOT_FINITE
    scores = tuple(
        normalised(likelihood, choice, len(tokens), row.normalization)
        for likelihood, choice, tokens in zip(scored.likelihoods, row.choices, question.choices, strict=True)
    )
    best = max(range(len(scores)), key=scores.__getitem__)
    tokens = question.choices[best]
    return RowResult(
        text=row.choices[best],
        token_ids=tokens,
        choice=row.choices[best],
        scores=scores,
        prompt_tokens=len(question.ids),
        output_tokens=len(tokens),
        finish_reason="choice",
        merge=report,
        timings={"merge": merged, **scored.timings},
    )


def _written(
    question: Question,
    writing: Writing,
    report: MergeReport,
    merged: float,
    text: Text,
) -> Answer:
    if writing.stopped:
        return UNWANTED
    if not writing.finite:
        return _NOT_FINITE
    if writing.text is not None:
        writing.text.rest()
    told = tuple(writing.logprobs) if question.row.logprobs is not None else None
    named = {token for one in told or () for token in (one.token, *dict(one.likeliest))}
    return RowResult(
        text=text.decode(writing.tokens) if writing.text is None else writing.text.text,
        token_ids=tuple(writing.tokens),
        choice=None,
        scores=None,
        prompt_tokens=len(question.ids),
        output_tokens=len(writing.tokens),
        finish_reason="stop" if writing.ended else "length",
        merge=report,
        timings={"merge": merged, **writing.timings},
        logprobs=told,
        token_texts={token: text.token(token) for token in named},
    )


def _order(question: Question) -> tuple[str, int]:
    return question.row.kind, len(question.ids)


def _ends(model: Any, tokenizer: Any) -> frozenset[int]:
    """Tokens that end a text, by the model's generation settings and by its tokenizer."""
    named = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    ends = set(named) if isinstance(named, list) else {named}
    return frozenset(end for end in ends | {tokenizer.eos_token_id} if end is not None)
