"""What two adapters have to do with each other; measured once a pair, since content never changes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from loradex.worker.engine.bank import AdapterBank, Key
from loradex.worker.engine.gated_norms import beyond_factors

MAX_CACHED_PAIRS = 200_000


@dataclass(frozen=True)
class Pair:
    """Two entries of the bank.

    Attributes:
        inner: <dW_i, dW_j> in the Frobenius inner product over all modules, scalings and gates included.
        conflict: Share of the factor entries where both are non-zero that differ in sign.
    """

    inner: float
    conflict: float


class PairTable:
    """Pairs by content; a pair is measured when a mixture first names it."""

    def __init__(self, bank: AdapterBank) -> None:
        self._bank = bank
        self._known: dict[tuple[Key, Key], Pair] = {}

    def of(self, mixtures: Sequence[Sequence[Key]], entries: Mapping[Key, int]) -> list[list[list[Pair]]]:
        """For each mixture its matrix of pairs; `entries` gives the slots, all of them resident now."""
        if len(self._known) > MAX_CACHED_PAIRS:
            self._known.clear()
        new = [keys for keys in mixtures if any((i, j) not in self._known for i in keys for j in keys)]
        for size in sorted({len(keys) for keys in new}):
            self._measure([keys for keys in new if len(keys) == size], entries)
        return [[[self._known[i, j] for j in keys] for i in keys] for keys in mixtures]

    def _measure(self, mixtures: Sequence[Sequence[Key]], entries: Mapping[Key, int]) -> None:
        bank, layout = self._bank, self._bank.layout
        slots = torch.tensor([[entries[key] for key in keys] for keys in mixtures], device=bank.device)
        rows, k = slots.shape
        inner = torch.zeros(rows, k, k, dtype=torch.float64, device=bank.device)
        differ, both = torch.zeros_like(inner), torch.zeros_like(inner)
        for index in range(len(layout.modules)):
            scaling = bank.scaling[index][slots]
            grams = []
            for side in ("A", "B"):
                width, plane = layout.places[index, side]
                picked = bank.stacks[width][plane][slots].to(torch.float32)
                flat = picked.reshape(rows, k * layout.rank, width)
                grams.append(torch.bmm(flat, flat.transpose(1, 2)))
                sign = picked.reshape(rows, k, -1).sign_()
                agree = torch.bmm(sign, sign.transpose(1, 2))
                sign.abs_()
                nonzero = torch.bmm(sign, sign.transpose(1, 2))
                both += nonzero
                differ += (nonzero - agree) / 2
            products = (grams[0] * grams[1]).view(rows, k, layout.rank, k, layout.rank).sum((2, 4))
            inner += products * scaling.unsqueeze(1) * scaling.unsqueeze(2)
        for row, keys in enumerate(mixtures):
            more = beyond_factors(bank, keys, [entries[key] for key in keys])
            if more is not None:
                inner[row] += more.to(bank.device)
        share = differ / both.clamp(min=1)
        for keys, row_inner, row_share in zip(mixtures, inner.tolist(), share.tolist(), strict=True):
            for i, key in enumerate(keys):
                for j, other in enumerate(keys):
                    self._known[key, other] = Pair(row_inner[i][j], row_share[i][j])


def mixture_norm(weights: Sequence[float], pairs: Sequence[Sequence[Pair]]) -> float:
    """|sum w_i dW_i|_F = sqrt(sum w_i w_j <dW_i, dW_j>), the norm of the exact mixture."""
    total = sum(w * v * pairs[i][j].inner for i, w in enumerate(weights) for j, v in enumerate(weights))
    return float(max(total, 0.0) ** 0.5)


def sign_conflict(weights: Sequence[float], pairs: Sequence[Sequence[Pair]]) -> float:
    """Mean over pairs i < j, weighted by |w_i w_j|, of the share of entries that w_i and w_j pull apart."""
    total = conflict = 0.0
    for j, v in enumerate(weights):
        for i, w in enumerate(weights[:j]):
            share = pairs[i][j].conflict
            total += abs(w * v)
            conflict += abs(w * v) * (share if w * v >= 0 else 1 - share)
    return conflict / total if total else 0.0


def update_norms(grams: Tensor) -> Tensor:
    """Norms `[rows]` of updates, from the Gram matrices `[2, modules, rows, r, r]` of A and of B.

    |B A|_F^2 = trace(A^T B^T B A) = sum((A A^T) * (B^T B)); the scaling is inside the factors already.
    """
    return (grams[0] * grams[1]).to(torch.float64).sum((0, 2, 3)).clamp(min=0).sqrt()
