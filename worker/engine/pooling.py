"""One vector of a text's many: the kinds of pooling, computed as sentence-transformers computes them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import torch
from torch import Tensor

from loradex.library.encoder_layers import Mode

Pool = Callable[[Tensor, Tensor], Tensor]
"""Hidden states `[texts, tokens, width]`, and which of them count `[texts, tokens]` → `[texts, width]`."""


def pooled(hidden: Tensor, lengths: Tensor, skipped: int, modes: Sequence[Mode]) -> Tensor:
    """The vectors of some texts, `[texts, width of a mode * modes]`.

    Args:
        hidden: Of each token, `[texts, tokens, width]`; padding is on the right.
        lengths: Tokens of each text.
        skipped: Tokens at the start that do not count.
        modes: The kinds, joined in this order.
    """
    places = torch.arange(hidden.shape[1], device=hidden.device)
    counts = (places < lengths.unsqueeze(1)) & (places >= skipped)
    return torch.cat([POOLS[mode](hidden, counts) for mode in modes], dim=1)


def _first(hidden: Tensor, counts: Tensor) -> Tensor:
    return hidden[torch.arange(len(hidden), device=hidden.device), counts.int().argmax(1)]


def _last(hidden: Tensor, counts: Tensor) -> Tensor:
    backwards = counts.int().flip(1).argmax(1)
    return hidden[torch.arange(len(hidden), device=hidden.device), hidden.shape[1] - 1 - backwards]


def _largest(hidden: Tensor, counts: Tensor) -> Tensor:
    return hidden.masked_fill(~counts.unsqueeze(2), float("-inf")).amax(1)


def _sum(hidden: Tensor, counts: Tensor) -> Tensor:
    return (hidden * counts.unsqueeze(2)).sum(1)


def _mean(hidden: Tensor, counts: Tensor) -> Tensor:
    return _sum(hidden, counts) / counts.sum(1, keepdim=True)


def _mean_by_root(hidden: Tensor, counts: Tensor) -> Tensor:
    return _sum(hidden, counts) / counts.sum(1, keepdim=True).sqrt()


def _mean_by_place(hidden: Tensor, counts: Tensor) -> Tensor:
    weights = torch.arange(1, hidden.shape[1] + 1, device=hidden.device) * counts
    return (hidden * weights.unsqueeze(2)).sum(1) / weights.sum(1, keepdim=True)


POOLS: Final[Mapping[Mode, Pool]] = {
    "cls": _first,
    "max": _largest,
    "mean": _mean,
    "mean_sqrt_len_tokens": _mean_by_root,
    "weightedmean": _mean_by_place,
    "lasttoken": _last,
}
