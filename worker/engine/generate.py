"""Writes text for a batch of rows; a row that is done leaves, the others go on."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from worker.engine.cache import GROWTH, Store, StoreView, padding_mask
from worker.engine.forward import Forward
from worker.engine.questions import Question, slices_by_length
from worker.engine.sampling import Sampler
from worker.engine.updates import Updates, UpdateSwitch

CROWD = 0.75
"""A batch is compacted when this share of its rows or less still writes: each compaction copies what stays."""


@dataclass
class Writing:
    """What one row has written so far. `finite` is False once the model gave it NaN or infinite logits."""

    sampler: Sampler
    left: int
    tokens: list[int] = field(default_factory=list)
    finite: bool = True
    timings: dict[str, float] = field(default_factory=dict)

    def take(self, token: int, likeliest: float, ends: frozenset[int]) -> bool:
        """Takes a token; True if the row goes on."""
        if not likeliest < float("inf") or likeliest == float("-inf"):
            self.finite = False
            return False
        self.tokens.append(token)
        self.left -= 1
        return self.left > 0 and token not in ends


class Generator:
    """Generates for a whole batch.

    Args:
        forward: The model.
        switch: Where the wrapped modules find the updates of the rows in hand.
        ends: Tokens that end a text.
        prefill_tokens: Tokens of one prefill at most, padding included.
    """

    def __init__(self, forward: Forward, switch: UpdateSwitch, ends: frozenset[int], prefill_tokens: int) -> None:
        self._forward = forward
        self._switch = switch
        self._ends = ends
        self._prefill_tokens = prefill_tokens

    def generate(self, questions: Sequence[Question], updates: Updates | None) -> list[Writing]:
        """Texts of questions sorted by length; `updates` has their rows in the same order."""
        columns = max(len(question.ids) for question in questions)
        writings = [
            Writing(Sampler(row.sampling_temperature, row.sampling_top_p, row.seed), row.max_new_tokens)
            for row in (question.row for question in questions)
        ]
        store = Store(self._forward.layers, len(questions), columns + min(GROWTH, max(one.left for one in writings)))
        logits = torch.cat(list(self._prefill(questions, updates, store, columns, writings)))
        self._decode(questions, updates, store, columns, writings, logits)
        return writings

    def _prefill(  # noqa: PLR0913
        self, questions: Sequence[Question], updates: Updates | None, store: Store, columns: int, writings: list[Writing]
    ) -> "list[Tensor]":
        logits = []
        for group in slices_by_length(questions, self._prefill_tokens):
            start = time.perf_counter()
            ids = [question.ids for question in questions[group]]
            self._switch.current = updates.rows(group) if updates is not None else None
            longest = max(len(row) for row in ids)
            logits.append(self._forward.prompts(ids, StoreView(store, group, columns - longest)))
            for writing in writings[group]:
                writing.timings["prefill"] = 1000 * (time.perf_counter() - start)
        return logits

    def _decode(  # noqa: PLR0913
        self,
        questions: Sequence[Question],
        updates: Updates | None,
        store: Store,
        columns: int,
        writings: list[Writing],
        logits: Tensor,
    ) -> None:
        start = time.perf_counter()
        self._switch.current = updates
        device = self._forward.device
        rows = writings
        lengths = torch.tensor([len(question.ids) for question in questions], device=device)
        written = 0
        alive = [True] * len(rows)
        while True:
            tokens = self._draw(rows, alive, logits)
            written += 1
            for row, writing in enumerate(rows):
                if not alive[row] and "decode" not in writing.timings:
                    writing.timings["decode"] = 1000 * (time.perf_counter() - start)
            if not any(alive):
                return
            if sum(alive) <= CROWD * len(rows):
                kept = torch.tensor([row for row, on in enumerate(alive) if on], device=device)
                store.keep(kept)
                updates = updates.rows(kept) if updates is not None else None
                self._switch.current = updates
                lengths, tokens = lengths[kept], tokens[kept]
                rows = [writing for writing, on in zip(rows, alive, strict=True) if on]
                alive = [True] * len(rows)
            longest = int(lengths.max())
            view = StoreView(store, slice(0, len(rows)), columns - longest, longest + written - 1)
            mask = torch.nn.functional.pad(padding_mask(lengths, longest), (0, written), value=True)
            logits = self._forward.step(tokens, mask, lengths + written - 1, view)

    def _draw(self, rows: Sequence[Writing], alive: list[bool], logits: Tensor) -> Tensor:
        likeliest, tokens = logits.max(-1)
        drawn, values = tokens.tolist(), likeliest.tolist()
        for row, writing in enumerate(rows):
            if alive[row]:
                if not writing.sampler.greedy and values[row] == values[row]:
                    drawn[row] = writing.sampler.draw(logits[row])
                alive[row] = writing.take(drawn[row], values[row], self._ends)
        return torch.tensor(drawn, device=logits.device)
