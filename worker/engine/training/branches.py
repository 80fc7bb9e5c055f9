"""Rows as the model sees them in training and scoring: one prompt, and its possible answers as branches.

The answers of a row share the prompt's forward pass: they lie behind one another in one sequence, each
sees the prompt and itself only, and each starts at the position after the prompt. Log-likelihoods are those
of separate sequences, at a fraction of the tokens.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Branches:
    """A prompt and answers, as token ids.

    Attributes:
        prompt: Framed prompt; never empty.
        answers: Answers, each of at least one token.
    """

    prompt: tuple[int, ...]
    answers: tuple[tuple[int, ...], ...]

    @property
    def tokens(self) -> int:
        """Tokens of the forward pass (an answer's last token is only predicted)."""
        return len(self.prompt) + sum(len(answer) - 1 for answer in self.answers)


@dataclass(frozen=True)
class Batch:
    """Padded tensors of several rows.

    Attributes:
        tokens: `[rows, length]` int64.
        positions: `[rows, length]` int64, restarting after the prompt at each branch.
        mask: `[rows, 1, length, length]` bool, True where attention is allowed.
        places: `[targets]` flat index into `rows * length` of the hidden state that predicts each target.
        targets: `[targets]` int64 token ids.
        owners: `[targets]` index of the branch, counted over all rows.
        branches: Number of branches in the batch.
    """

    tokens: Tensor
    positions: Tensor
    mask: Tensor
    places: Tensor
    targets: Tensor
    owners: Tensor
    branches: int


def collate(rows: Sequence[Branches], pad: int, device: torch.device) -> Batch:
    """Lay rows of any lengths into one batch."""
    length = max(row.tokens for row in rows)
    tokens = torch.full((len(rows), length), pad)
    positions = torch.zeros((len(rows), length), dtype=torch.long)
    mask = torch.eye(length, dtype=torch.bool).repeat(len(rows), 1, 1)
    places: list[int] = []
    targets: list[int] = []
    owners: list[int] = []
    branch = 0
    for number, row in enumerate(rows):
        start = len(row.prompt)
        tokens[number, :start] = torch.tensor(row.prompt)
        positions[number, :start] = torch.arange(start)
        mask[number, :start, :start] = torch.ones((start, start), dtype=torch.bool).tril()
        offset = start
        for answer in row.answers:
            fed = len(answer) - 1
            end = offset + fed
            if fed:
                tokens[number, offset:end] = torch.tensor(answer[:-1])
                positions[number, offset:end] = torch.arange(start, start + fed)
                mask[number, offset:end, :start] = True
                mask[number, offset:end, offset:end] = torch.ones((fed, fed), dtype=torch.bool).tril()
            base = number * length
            places += [base + start - 1, *range(base + offset, base + end)]
            targets += answer
            owners += [branch] * len(answer)
            branch += 1
            offset = end
    return Batch(
        tokens=tokens.to(device),
        positions=positions.to(device),
        mask=mask[:, None].to(device),
        places=torch.tensor(places, device=device),
        targets=torch.tensor(targets, device=device),
        owners=torch.tensor(owners, device=device),
        branches=branch,
    )


class BranchScorer:
    """Log-likelihoods of answers under any causal language model.

    Logits are computed at the answers' positions only, in fp32: bf16 puts 0.1 between them, and choices tie.
    What a family of models does to its logits afterwards (soft caps, scales) stays the model's own affair.
    """

    def __init__(self, model: Any, pad: int) -> None:
        """Wrap a Hugging Face causal LM, its layers wrapped by PEFT or not."""
        self._model = model
        self._head: nn.Module = model.get_output_embeddings()
        self._weight: Tensor = self._head.weight.detach().float()
        bias = getattr(self._head, "bias", None)
        self._bias: Tensor | None = None if bias is None else bias.detach().float()
        self._pad = pad

    def __call__(self, rows: Sequence[Branches]) -> Tensor:
        """Sum of the tokens' log-likelihoods of every branch, row by row: `[branches]` fp32, natural log."""
        batch = collate(rows, self._pad, self._weight.device)
        with self._head_at(batch.places):
            logits = self._model(
                input_ids=batch.tokens,
                attention_mask=batch.mask,
                position_ids=batch.positions,
                use_cache=False,
            ).logits[0]
        gold = -nn.functional.cross_entropy(logits, batch.targets, reduction="none")
        return gold.new_zeros(batch.branches).index_add(0, batch.owners, gold)

    @contextmanager
    def _head_at(self, places: Tensor) -> Iterator[None]:
        """For as long as it is entered, the model's head computes these positions only, and in fp32."""

        def forward(states: Tensor) -> Tensor:
            return nn.functional.linear(states.flatten(0, 1)[places].float(), self._weight, self._bias)[None]

        self._head.forward = forward
        try:
            yield
        finally:
            del self._head.forward
