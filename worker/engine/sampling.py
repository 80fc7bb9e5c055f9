"""The next token of sampled rows: each is drawn with the row's own random numbers."""

from collections.abc import Sequence

import torch
from torch import Tensor

LOOKED_AT = (128, 4096)
"""How many of the likeliest tokens are ordered before the whole vocabulary is: nearly all draws end in the first."""


class Sampler:
    """How one row's tokens are drawn.

    Args:
        temperature: 0 takes the likeliest token.
        top_p: Mass of the smallest set of likeliest tokens that is drawn from, in (0, 1].
        seed: Seed of this row alone, so its batch mates never change what it draws.
    """

    def __init__(self, temperature: float, top_p: float, seed: int) -> None:
        self.temperature = temperature
        self.top_p = top_p
        self._generator = torch.Generator().manual_seed(seed) if temperature > 0 else None

    @property
    def greedy(self) -> bool:
        return self._generator is None

    def uniform(self) -> float:
        """The next random number of the row, in [0, 1)."""
        return float(torch.rand((), generator=self._generator, dtype=torch.float64))


def draw(logits: Tensor, samplers: Sequence[Sampler]) -> list[int]:
    """One token for each row of logits `[rows, vocabulary]`, which must be finite; no sampler may be greedy.

    A token is where the cumulative distribution, likeliest token first, passes one uniform number. Only as many
    tokens are ordered as it takes to get there; the result is that of ordering all. It is computed on the
    logits' device, in float64, so that neither the rows beside it nor the order of a sum change a text.
    """
    # MPS has no float64.
    held = logits if logits.device.type != "mps" else logits.cpu()
    heat = torch.tensor([one.temperature for one in samplers], dtype=torch.float64, device=held.device)
    probabilities = torch.softmax(held.to(torch.float64).div_(heat[:, None]), dim=-1)
    top_p = torch.tensor([one.top_p for one in samplers], dtype=torch.float64, device=held.device)
    at = torch.tensor([one.uniform() for one in samplers], dtype=torch.float64, device=held.device)
    drawn = [-1] * len(samplers)
    left = list(range(len(samplers)))
    vocabulary = probabilities.shape[1]
    for count in (*(some for some in LOOKED_AT if some < vocabulary), vocabulary):
        rows = torch.tensor(left, device=held.device)
        all_left = len(left) == len(samplers)
        found = _among_likeliest(
            probabilities if all_left else probabilities[rows], top_p[rows], at[rows], count
        ).tolist()
        for row, token in zip(left, found, strict=True):
            drawn[row] = token
        left = [row for row in left if drawn[row] < 0]
        if not left:
            break
    return drawn


def _among_likeliest(probabilities: Tensor, top_p: Tensor, at: Tensor, count: int) -> Tensor:
    """The token drawn in each row `[rows]` if the `count` likeliest tell which it is; else -1."""
    whole = count == probabilities.shape[1]
    if whole:
        ordered, tokens = probabilities.sort(dim=-1, descending=True, stable=True)
        known = torch.ones_like(ordered, dtype=torch.bool)
    else:
        tokens = probabilities.topk(count, dim=-1, sorted=False).indices.sort(dim=-1).values
        ordered, places = probabilities.gather(-1, tokens).sort(dim=-1, descending=True, stable=True)
        tokens = tokens.gather(-1, places)
        # Which of the tokens as likely as the last were left out is not known.
        known = ordered > ordered[:, -1:]
    before = ordered.cumsum(-1) - ordered
    nucleus = torch.where(before < top_p[:, None], ordered, 0.0).cumsum(-1)
    # All of it: what is not among these counts too.
    mass = torch.where(top_p < 1, nucleus[:, -1], nucleus[:, -1] if whole else 1.0)
    ends = (known & (before >= top_p[:, None])).any(-1) | (top_p >= 1) | whole
    place = torch.searchsorted(nucleus, (at * mass)[:, None], right=True).clamp_(max=count - 1)
    certain = ends & known.gather(-1, place)[:, 0]
    return torch.where(certain, tokens.gather(-1, place)[:, 0], -1)
