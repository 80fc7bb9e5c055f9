"""Writes text for a batch of rows; a row that is done leaves, the others go on."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from loradex.worker.engine.cache import GROWTH, Store, StoreView, padding_mask
from loradex.worker.engine.forward import Forward
from loradex.worker.engine.questions import Question, never, slices_by_length
from loradex.worker.engine.rows import Logprobs
from loradex.worker.engine.sampling import Picked, Sampler, pick
from loradex.worker.engine.updates import Updates, UpdateSwitch
from loradex.worker.engine.written_text import WrittenText

COMPACT_BELOW = 0.75
"""A batch is compacted once this share of its rows or less still writes; compacting copies what stays."""


@dataclass
class Writing:
    """What one row has written so far.

    `finite` is False once the model gave it NaN or infinite logits, `stopped` is True if it left unfinished
    since nobody wants its answer, `ended` is True once it wrote a token that ends a text, or a stop string, be it with
    the last token allowed. `text` is there where the row has stop strings.
    """

    sampler: Sampler
    left: int
    text: WrittenText | None = None
    unwanted: Callable[[], bool] = never
    tokens: list[int] = field(default_factory=list)
    finite: bool = True
    stopped: bool = False
    ended: bool = False
    timings: dict[str, float] = field(default_factory=dict)
    logprobs: list[Logprobs] = field(default_factory=list)

    def take(self, picked: Picked, ends: frozenset[int]) -> bool:
        """Takes a token; True if the row goes on."""
        if self.unwanted():
            self.stopped = True
            return False
        if not picked.finite:
            self.finite = False
            return False
        self.sampler.take(picked.token)
        self.tokens.append(picked.token)
        if picked.logprobs is not None:
            self.logprobs.append(picked.logprobs)
        if self.text is not None:
            self.text.add(picked.token)
        self.left -= 1
        self.ended = picked.token in ends or (self.text is not None and self.text.stopped)
        return self.left > 0 and not self.ended


class Generator:
    """Generates for a whole batch.

    Args:
        forward: The model.
        switch: Where the wrapped modules find the updates of the rows in hand.
        ends: Tokens that end a text.
        prefill_tokens: Tokens of one prefill at most, padding included.
        decode: From tokens to text as it stands, without special tokens.
    """

    def __init__(
        self,
        forward: Forward,
        switch: UpdateSwitch,
        ends: frozenset[int],
        prefill_tokens: int,
        decode: Callable[[Sequence[int]], str],
    ) -> None:
        self._forward = forward
        self._switch = switch
        self._ends = ends
        self._prefill_tokens = prefill_tokens
        self._decode = decode

    def generate(self, questions: Sequence[Question], updates: Updates | None) -> list[Writing]:
        """Texts of questions sorted by length; `updates` has their rows in the same order."""
        writings = [self._writing(question) for question in questions]
        batch = _Batch.of(questions, writings, updates, self._forward)
        logits = torch.cat(
            [self._prefill(batch, rows) for rows in slices_by_length(questions, self._prefill_tokens)]
        )
        start = time.perf_counter()
        self._switch.current = updates
        tokens = self._draw(batch, logits, start)
        while any(batch.alive):
            if sum(batch.alive) <= COMPACT_BELOW * len(batch.alive):
                tokens = tokens[batch.compact()]
                self._switch.current = batch.updates
            tokens = self._draw(batch, self._step(batch, tokens), start)
        return writings

    def _writing(self, question: Question) -> Writing:
        row = question.row
        return Writing(
            Sampler.of(row, question.ids, self._ends),
            row.max_new_tokens,
            WrittenText(self._decode, row.stop) if row.stop else None,
            question.unwanted,
        )

    def _prefill(self, batch: "_Batch", rows: slice) -> Tensor:
        start = time.perf_counter()
        self._switch.current = batch.updates.rows(rows) if batch.updates is not None else None
        ids = batch.ids[rows]
        longest = max(map(len, ids))
        logits = self._forward.prompts(ids, StoreView(batch.store, rows, batch.columns - longest))
        for writing in batch.writings[rows]:
            writing.timings["prefill"] = 1000 * (time.perf_counter() - start)
        return logits

    def _step(self, batch: "_Batch", tokens: Tensor) -> Tensor:
        longest = int(batch.lengths.max())
        rows = slice(0, len(batch.writings))
        view = StoreView(batch.store, rows, batch.columns - longest, longest + batch.written - 1)
        mask = torch.nn.functional.pad(padding_mask(batch.lengths, longest), (0, batch.written), value=True)
        return self._forward.step(tokens, mask, batch.lengths + batch.written - 1, view)

    def _draw(self, batch: "_Batch", logits: Tensor, start: float) -> Tensor:
        alive = [row for row, on in enumerate(batch.alive) if on]
        of_them = logits if len(alive) == len(logits) else logits[alive]
        tokens = [0] * len(logits)
        for row, picked in zip(
            alive, pick(of_them, [batch.writings[row].sampler for row in alive]), strict=True
        ):
            tokens[row] = picked.token
            writing = batch.writings[row]
            batch.alive[row] = writing.take(picked, self._ends)
            if not batch.alive[row]:
                writing.timings["decode"] = 1000 * (time.perf_counter() - start)
        batch.written += 1
        return torch.tensor(tokens, device=logits.device)


@dataclass
class _Batch:
    """The rows still in hand: their updates, keys and values, and what each has written.

    `columns` is where all prompts end in the store, `written` the tokens drawn for each row so far.
    """

    ids: list[tuple[int, ...]]
    lengths: Tensor
    updates: Updates | None
    store: Store
    columns: int
    writings: list[Writing]
    alive: list[bool]
    written: int = 0

    @classmethod
    def of(
        cls,
        questions: Sequence[Question],
        writings: Sequence[Writing],
        updates: Updates | None,
        forward: Forward,
    ) -> "_Batch":
        ids = [question.ids for question in questions]
        columns = max(map(len, ids))
        most = max(question.row.max_new_tokens for question in questions)
        return cls(
            ids=ids,
            lengths=torch.tensor([len(row) for row in ids], device=forward.device),
            updates=updates,
            store=Store(forward.architecture.layers, len(ids), columns + min(GROWTH, most)),
            columns=columns,
            writings=list(writings),
            alive=[True] * len(ids),
        )

    def compact(self) -> Tensor:
        """Lets the rows that are done go; returns which places stay."""
        kept = torch.tensor([row for row, on in enumerate(self.alive) if on], device=self.lengths.device)
        self.store.keep(kept)
        self.updates = self.updates.rows(kept) if self.updates is not None else None
        self.lengths = self.lengths[kept]
        self.writings = [writing for writing, on in zip(self.writings, self.alive, strict=True) if on]
        self.alive = [True] * len(self.writings)
        return kept
