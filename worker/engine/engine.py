"""Our own engine: rows of different mixtures in one forward pass, which come and go while others write."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch

from loradex.errors import LoradexError
from loradex.library.model_files import ModelFiles, read_whole
from loradex.worker.engine.architecture import Architecture
from loradex.worker.engine.asking import Asking
from loradex.worker.engine.bank import AdapterBank
from loradex.worker.engine.base_modules import BaseModules, is_norm
from loradex.worker.engine.compose import Composer
from loradex.worker.engine.device import watched
from loradex.worker.engine.ends import ends_of
from loradex.worker.engine.float32 import Float32
from loradex.worker.engine.form import Form, spread_of
from loradex.worker.engine.forward import Forward
from loradex.worker.engine.grammars import Grammars
from loradex.worker.engine.head import logits_in_float32
from loradex.worker.engine.invocation import invoked
from loradex.worker.engine.layout import Layout
from loradex.worker.engine.load import load_model
from loradex.worker.engine.memory import NOTHING_EXPECTED, USUAL_RANK, Budgets, Expected, budgets, free_bytes
from loradex.worker.engine.modules import device_of, shapes_of
from loradex.worker.engine.protocol import Event, Failed, Finished, Ticket, Usage
from loradex.worker.engine.quantization import ROUNDS_WHAT_IT_READS, told_by
from loradex.worker.engine.questions import UNWANTED, Question
from loradex.worker.engine.ranking import Ranking
from loradex.worker.engine.recipe import Recipe
from loradex.worker.engine.reference import Reference
from loradex.worker.engine.room import Sizes
from loradex.worker.engine.rows import MergeReport, Row, RowResult
from loradex.worker.engine.stream import Pace, Stream
from loradex.worker.engine.text import Text
from loradex.worker.engine.updates import Updates, UpdateSwitch, wrap
from loradex.worker.isolation import Failure

CHUNK_BYTES: Final = {"cpu": 1 << 20, "cuda": 1 << 28}
HOST_BYTES: Final = {"cpu": 0, "cuda": 4 << 30}
PACES: Final = {"cpu": Pace(beside=256, alone=1024), "cuda": Pace(beside=2048, alone=8192)}
"""How much is read between two looks around."""
PICKING_BYTES: Final = 24
"""Bytes for each word of the vocabulary and row while a token is picked: logits, and probabilities in float64."""
READING_BYTES: Final = 4
"""Bytes for each word of the vocabulary and token of a choice: its logit, which is worked on where it lies."""
Answer = RowResult | Failure


class Engine:
    """A base model, its bank of adapters, and what answers with them. One thread at a time may use it.

    Args:
        model: A causal language model in eval mode; its linear modules are wrapped, its weights never
            touched.
        tokenizer: The model's tokenizer.
        bank_bytes: Bytes of the device that hold stacked adapters; None takes what suits the device.
        host_bytes: Bytes of the host that hold parsed adapters; None takes what suits the device.
        ends: Tokens that end a text; None takes the model's and its tokenizer's.
        room_bytes: Bytes for all rows in hand: keys, values, factors and logits; None takes what suits the device.
        pace: Tokens that are read at a time; None takes what suits the device.
        expected: The adapters there are, for which the bank is to have room where `bank_bytes` is None.
        float32: Shared with all that multiply float32 in other threads while this computes; None: nothing does.

    Raises:
        ModelRefusedError: A first question was not answered as transformers answers it.

    Attributes:
        files: What the model's directory was when it was read.
        attention: Whose attention it computes with, such as `sdpa`.
        quantization: How its weights are quantised; None: they are not.
        device_map: How many of its parts lie on which device; None: all on one.
        budgets: Bytes that adapters and rows have.
    """

    files = ModelFiles(revision="in memory", digest="in memory")

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        bank_bytes: int | None = None,
        host_bytes: int | None = None,
        ends: frozenset[int] | None = None,
        room_bytes: int | None = None,
        pace: Pace | None = None,
        expected: Expected = NOTHING_EXPECTED,
        float32: Float32 | None = None,
    ) -> None:
        self.device = device_of(model)
        self.dtype = str(model.dtype).removeprefix("torch.")
        self.attention = str(model.config.get_text_config()._attn_implementation)  # noqa: SLF001 - it is told nowhere else
        self.quantization = told_by(model.config)
        self.device_map = spread_of(model)
        self.model = model
        self.text = Text(tokenizer)
        kind = "cpu" if self.device.type == "cpu" else "cuda"
        architecture = Architecture.of(model)
        vocabulary = model.config.get_text_config().vocab_size
        logits_in_float32(model, float32 or Float32())
        reference = Reference(model, architecture, rough=self.quantization in ROUNDS_WHAT_IT_READS)
        shapes = shapes_of(model, reference.ask)
        self._switch = UpdateSwitch(self.device)
        norms = [name for name, module in model.named_modules() if is_norm(module)]
        wrap(model, (*shapes, *norms), self._switch)
        suits = budgets(
            free_bytes(self.device),
            Layout(expected.rank or USUAL_RANK, shapes).slot_bytes(model.dtype.itemsize),
            expected.adapters,
            shared=kind == "cpu",
        )
        self.budgets = Budgets(
            bank=suits.bank if bank_bytes is None else bank_bytes,
            rows=suits.rows if room_bytes is None else room_bytes,
        )
        host = HOST_BYTES[kind] if host_bytes is None else host_bytes
        base = BaseModules(model)
        self.bank = AdapterBank(shapes, self.device, model.dtype, self.budgets.bank, host, base=base)
        self._composer = Composer(self.bank, CHUNK_BYTES[kind])
        self._forward = Forward(model, architecture, self.device)
        ends = ends_of(model, tokenizer) if ends is None else ends
        self._grammars = Grammars(tokenizer, vocabulary, ends)
        self._asking = Asking(
            self.text, self.bank, architecture, vocabulary, self.dtype, grammars=self._grammars
        )
        reference.require(shapes, self._forward, self._switch)
        self._stream = Stream(
            self._forward,
            self._switch,
            self._composer,
            self.bank,
            self.text,
            ends=ends,
            sizes=lambda: Sizes(
                token=reference.token_bytes,
                slot=self.bank.slot_bytes,
                row=PICKING_BYTES * vocabulary,
                read=READING_BYTES * vocabulary,
            ),
            room=self.budgets.rows,
            pace=PACES[kind] if pace is None else pace,
        )

    @classmethod
    def load(
        cls,
        model_path: Path | str,
        device: str,
        form: Form,
        bank_bytes: int | None = None,
        threads: int = 0,
        *,
        room_bytes: int | None = None,
        known: ModelFiles | None = None,
        expected: Expected = NOTHING_EXPECTED,
        float32: Float32 | None = None,
    ) -> "Engine":
        """An engine for the model at a path; `device` may be auto, `threads` 0 leaves them to torch.

        `known` is what its files were when this process hashed them before.

        Raises:
            ModelRefusedError: It cannot be loaded so here, or is not answered as transformers answers it.
        """
        if threads:
            torch.set_num_threads(threads)
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        load = partial(load_model, device=torch.device(device), form=form)
        (model, tokenizer), files = read_whole(Path(model_path), load, known)
        engine = cls(
            model, tokenizer, bank_bytes=bank_bytes, room_bytes=room_bytes, expected=expected, float32=float32
        )
        engine.files = files
        return engine

    @property
    def context_length(self) -> int:
        """Tokens a prompt and its answer may have together."""
        return self._forward.architecture.context

    def count_tokens(self, row: Row) -> int:
        """Tokens of the row's prompt."""
        return len(self.text.prompt(row.prompt_text))

    def fetch(self, adapters: Mapping[str, Path], row: Row) -> None:
        """Reads the adapters that a row names, and what its text is held to, so that no step waits. For any thread."""
        self.bank.fetch(adapters)
        with suppress(LoradexError):  # It is raised when the row is added.
            self._grammars.of(row)

    def add(self, ticket: Ticket, row: Row, adapters: Mapping[str, Path] | None = None) -> None:
        """Takes a row in hand; `adapters` has the directories of those that were not made known before.

        Raises:
            InvalidArgumentError: It is not a question that can be answered.
            PromptTooLongError: The model does not read as many tokens.
            ConstraintRefusedError: No text of this model can be held to what it says.
            AdapterChangedError, AdapterRefusedError, UnknownNameError: An adapter cannot be read.
        """
        with watched(self.device):
            if adapters:
                self.bank.ensure(adapters)
            self._stream.add(self._asking.question(ticket, row))

    def step(self) -> Sequence[Event]:
        """A short stretch of work for the rows in hand, and what came of it.

        What a row is told does not depend on the rows beside it: the mathematics is per row, and sums of
        unequal order differ by rounding only.
        """
        return self._stream.step()

    def abort(self, ticket: Ticket) -> None:
        """Lets a row go."""
        self._stream.abort(ticket)

    def usage(self) -> Usage:
        """What is in hand now."""
        return self._stream.usage()

    def answer(self, rows: Sequence[Row], unwanted: Callable[[int], bool] | None = None) -> list[Answer]:
        """Answers every row, in order; a row that cannot be answered fails alone.

        `unwanted` is asked before each step whether nobody wants the row at that place any more; such a row is
        let go, and its answer is `UNWANTED`. No other rows may be in hand.
        """
        answers: dict[Ticket, Answer] = {}
        left: set[int] = set()
        for place, row in enumerate(rows):
            try:
                self.add(place, row)
                left.add(place)
            except LoradexError as error:
                answers[place] = Failure.of(error)
        try:
            while left:
                for place in [place for place in left if unwanted is not None and unwanted(place)]:
                    self.abort(place)
                    answers[place] = UNWANTED
                for event in self.step():
                    if isinstance(event, Finished):
                        answers[event.ticket] = event.result
                    elif isinstance(event, Failed):
                        answers[event.ticket] = event.failure
                left -= answers.keys()
        finally:
            for place in left:
                self.abort(place)
        return [answers[place] for place in range(len(rows))]

    @torch.inference_mode()
    def compose(self, recipes: Sequence[Recipe]) -> tuple[Updates | None, Sequence[MergeReport]]:
        """The updates of some recipes, without answering anything; the next composition may write over them."""
        composition = self._composer.compose(recipes)
        self._composer.give_back(composition)
        return composition.updates, composition.reports

    @torch.inference_mode()
    def margin(self, row: Row, written: Sequence[int], one: int, other: int) -> float:
        """How much likelier token `one` is than `other` after the prompt and `written`; natural log."""
        prompt = self.text.prompt(row.prompt_text)
        ids = (*prompt, *written)
        updates = invoked(self.compose([row.recipe])[0], [prompt])
        ranking = Ranking(self._forward, self._switch, [Question(0, row, ids, ((one,), (other,)))], updates)
        try:
            while not ranking.done:
                ranking.advance(len(ids))
        finally:
            self._switch.current = None
        first, second = ranking.scored()[0].likelihoods
        return first - second
