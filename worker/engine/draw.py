"""Draws the next token of sampled rows, each with the row's own random number."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

LOOKED_AT = (128, 4096)
"""How many of the likeliest tokens are ordered before the whole vocabulary is: nearly all draws end in the first."""


class Draws(Protocol):
    """How a row is drawn: temperature above 0, and which of the likeliest tokens are drawn from.

    `top_k` 0, `top_p` 1 and `min_p` 0 leave none out.
    """

    @property
    def temperature(self) -> float: ...
    @property
    def top_k(self) -> int: ...
    @property
    def top_p(self) -> float: ...
    @property
    def min_p(self) -> float: ...
    def uniform(self) -> float:
        """The next random number of the row, in [0, 1)."""
        ...


def draw(logits: Tensor, rows: Sequence[Draws]) -> list[int]:
    """One token for each row of logits `[rows, vocabulary]`, whose maximum must be finite.

    Temperature, top-k, top-p and min-p come in the order of transformers' processors, and mean what they mean there:
    top-k keeps what is as likely as the k-th too, top-p is of the mass that top-k left, min-p is a share of the
    likeliest token's probability. A token is where the cumulative distribution of what is kept, likeliest token
    first, passes one uniform number. Only as many tokens are ordered as it takes to get there; the result is that of
    ordering all. It is computed on the logits' device, in float64, so that neither the rows beside it nor the order
    of a sum change a text.
    """
    # MPS has no float64.
    held = logits if logits.device.type != "mps" else logits.cpu()
    vocabulary = held.shape[1]

    def numbers(values: Sequence[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float64, device=held.device)

    probabilities = torch.softmax(
        held.to(torch.float64, copy=True).div_(numbers([one.temperature for one in rows])[:, None]), -1
    )
    rules = torch.stack(
        [
            numbers([one.top_k if 0 < one.top_k < vocabulary else 0 for one in rows]),
            numbers([one.top_p for one in rows]),
            numbers([one.min_p for one in rows]),
            numbers([one.uniform() for one in rows]),
        ]
    )
    drawn = [-1] * len(rows)
    left = list(range(len(rows)))
    for count in (*(some for some in LOOKED_AT if some < vocabulary), vocabulary):
        if len(left) == len(rows):
            found = _among_likeliest(probabilities, rules, count)
        else:
            places = torch.tensor(left, device=held.device)
            found = _among_likeliest(probabilities[places], rules[:, places], count)
        for row, token in zip(left, found.tolist(), strict=True):
            drawn[row] = token
        left = [row for row in left if drawn[row] < 0]
        if not left:
            break
    return drawn


def _among_likeliest(probabilities: Tensor, rules: Tensor, count: int) -> Tensor:
    """The token drawn in each row `[rows]` if the `count` likeliest tell which it is; else -1.

    `rules` `[4, rows]` are top-k, top-p, min-p and the random number.
    """
    top_k, top_p, min_p, at = rules
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
    # What is kept is the start of the order: all that is likelier than each of the three allows.
    all_k, all_p = top_k < 1, top_p >= 1
    least = ordered.gather(-1, (top_k.long() - 1).clamp_(0, count - 1)[:, None])[:, 0].masked_fill_(
        all_k, 0.0
    )
    k_ends = ~all_k & (top_k <= count) & (least > ordered[:, -1]) | whole
    ordered_k = torch.where(ordered >= least[:, None], ordered, 0.0)
    # A running sum, so that it does not depend on how many zeros follow.
    mass_k = torch.where(all_k, 1.0, ordered_k.cumsum(-1)[:, -1])
    before = ordered.cumsum(-1) - ordered
    beyond_p = ~all_p[:, None] & (before >= (top_p * mass_k)[:, None])
    beyond_m = ordered < (min_p * ordered[:, 0])[:, None]
    nucleus = torch.where(beyond_p | beyond_m, 0.0, ordered_k).cumsum(-1)
    # Where none of the three ends within these, all tokens are kept, or more than these.
    p_knows = all_p | all_k | k_ends
    ends = p_knows & (k_ends | (known & beyond_p).any(-1) | beyond_m[:, -1]) | whole
    unbounded = all_k & all_p & (min_p <= 0)
    mass = torch.where(unbounded & (not whole), 1.0, nucleus[:, -1])
    place = torch.searchsorted(nucleus, (at * mass)[:, None], right=True).clamp_(max=count - 1)
    certain = (ends | unbounded) & known.gather(-1, place)[:, 0]
    return torch.where(certain, tokens.gather(-1, place)[:, 0], -1)
