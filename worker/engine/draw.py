"""Draws the next token of sampled rows, each with the row's own random number."""

import sys
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

LOOKED_AT = (256, 2048, 4096)
"""How many of the likeliest tokens are ordered before the whole vocabulary is: most draws end in the first."""
BLOCKS = 4
"""Blocks of the vocabulary for each token that is looked for: the more, the fewer are found beside the likeliest."""
COLD = 1e-3
"""Logits divided by less than that may leave what float64 holds. A row's greatest one is taken off them before."""
COLDEST = sys.float_info.min
"""Not less is divided by: devices may take smaller numbers for 0."""


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

    rules = torch.tensor(
        [
            [one.temperature for one in rows],
            [one.top_k if 0 < one.top_k < vocabulary else 0 for one in rows],
            [one.top_p for one in rows],
            [one.min_p for one in rows],
            [one.uniform() for one in rows],
        ],
        dtype=torch.float64,
        device=held.device,
    )
    drawn = [-1] * len(rows)
    left = list(range(len(rows)))
    for count in (*(some for some in LOOKED_AT if 2 * BLOCKS * some <= vocabulary), vocabulary):
        some = left if len(left) < len(rows) else slice(None)
        found = _among_likeliest(held[some], rules[:, some], count)
        for row, token in zip(left, found.tolist(), strict=True):
            drawn[row] = token
        left = [row for row in left if drawn[row] < 0]
        if not left:
            break
    return drawn


def _among_likeliest(logits: Tensor, rules: Tensor, count: int) -> Tensor:
    """The token drawn in each row `[rows]` if the `count` likeliest tell which it is; else -1.

    `rules` `[5, rows]` are temperature, top-k, top-p, min-p and the random number.
    """
    temperature, top_k, top_p, min_p, at = rules
    whole = count == logits.shape[1]
    ordered, tokens, known = _likeliest(logits, temperature, count)
    # What is kept is the start of the order: all that is likelier than each of the three allows. Tokens that are not
    # known are less likely than all that are.
    all_k, all_p = top_k < 1, top_p >= 1
    least = ordered.gather(-1, (top_k.long() - 1).clamp_(0, ordered.shape[1] - 1)[:, None])[:, 0]
    k_ends = ~all_k & (top_k <= known) | whole
    ordered_k = torch.where(ordered >= least.masked_fill_(all_k, 0.0)[:, None], ordered, 0.0)
    # Running sums, so that they do not depend on how many zeros follow.
    mass_k = torch.where(all_k, 1.0, ordered_k.cumsum(-1)[:, -1])
    upto = ordered.cumsum(-1)
    beyond_p = ~all_p[:, None] & (upto - ordered >= (top_p * mass_k)[:, None])
    least_m = min_p * ordered[:, 0]
    kept = (ordered_k > 0) & ~beyond_p & (ordered >= least_m[:, None])
    # A product above may be rounded to 0, which the likeliest one's place in the order reaches too.
    kept[:, 0] = True
    nucleus = torch.where(kept, ordered, 0.0).cumsum(-1)
    # Where none of the three ends within these, all tokens are kept, or more than these.
    p_ends = ~all_p & (upto[:, -1] >= top_p * mass_k)
    m_ends = ordered.gather(-1, known[:, None] - 1)[:, 0] <= least_m
    ends = (all_p | all_k | k_ends) & (k_ends | p_ends | m_ends) | whole
    unbounded = all_k & all_p & (min_p <= 0) & (not whole)
    sought = at * torch.where(unbounded, 1.0, nucleus[:, -1])
    certain = ends | unbounded & (sought < nucleus[:, -1])
    # The product may be rounded up to the mass itself.
    place = torch.searchsorted(nucleus, sought[:, None], right=True)
    place = torch.minimum(place, kept.sum(-1, keepdim=True) - 1)
    return torch.where(certain, tokens.gather(-1, place)[:, 0], -1)


def _likeliest(logits: Tensor, temperature: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """At least the `count` likeliest tokens of each row, and whatever is as likely as the last of them.

    Returns:
        Probabilities, likeliest first and among equals the lower token first, and 0 behind them; tokens; both
        `[rows, the most of a row]`. And how many each row has, `[rows]`.
    """
    rows = len(logits)
    on_cpu = logits.device.type == "cpu"
    # A row a thread stays in a core's cache through all passes over it.
    together = torch.get_num_threads() if on_cpu else rows
    # One kernel is quicker than to ask another device which rows need it.
    heated, cold = (
        ((temperature != 1).tolist(), (temperature < COLD).tolist()) if on_cpu else ([True] * rows,) * 2
    )
    scores, shares = logits.new_empty((2, min(rows, together), logits.shape[1]), dtype=torch.float64)
    parts = []
    for start in range(0, rows, together):
        some = logits[start : start + together]
        found = _reached(some, _least(some, count))
        if len(some) < len(scores):
            scores, shares = scores[: len(some)], shares[: len(some)]
        scores.copy_(some)
        if any(heated[start : start + together]):
            by = temperature[start : start + together, None]
            if any(cold[start : start + together]):
                scores.sub_(torch.where(by < COLD, scores.amax(-1, keepdim=True), 0.0))
            scores.div_(by.clamp(min=COLDEST))
        torch.softmax(scores, -1, out=shares)
        parts.append((found + start * logits.shape[1], shares.take(found)))
    place, probability = (torch.cat(part) for part in zip(*parts, strict=True))
    row, token = place // logits.shape[1], place % logits.shape[1]
    known = row.bincount(minlength=rows)
    column = torch.arange(len(row), device=row.device) - (known.cumsum(0) - known)[row]
    widest = int(known.max())
    found = probability.new_full((rows, widest), -1.0)
    found[row, column] = probability
    tokens = token.new_zeros((rows, widest))
    tokens[row, column] = token
    ordered, places = found.sort(dim=-1, descending=True, stable=True)
    return ordered.clamp_(min=0.0), tokens.gather(-1, places), known


def _reached(logits: Tensor, least: Tensor) -> Tensor:
    """Where logits reach the least of their row, counted through all rows, in order."""
    if logits.device.type != "cpu":
        return (logits >= least).flatten().nonzero()[:, 0]
    # NumPy compares and finds in a tenth of torch's time. It has no bfloat16, which float32 holds exactly.
    known, bar = (one.float() if one.dtype == torch.bfloat16 else one for one in (logits, least))
    return torch.from_numpy(np.flatnonzero(known.numpy() >= bar.numpy()))


def _least(logits: Tensor, count: int) -> Tensor:
    """A logit that at least `count` tokens of a row reach, and few more, `[rows, 1]`.

    The vocabulary is cut into blocks; the `count`-th greatest of their maxima is such a logit, and found without an
    order of the vocabulary.
    """
    blocks = BLOCKS * count
    size = logits.shape[1] // blocks
    if size <= 1:
        return logits.new_full((len(logits), 1), -torch.inf)
    maxima = logits[:, : size * blocks].view(-1, size, blocks).amax(1)
    return maxima.topk(count, dim=-1, sorted=False).values.amin(-1, keepdim=True)
