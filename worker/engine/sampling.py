"""The next token of each row: the likeliest, or drawn with the row's own random numbers."""

import torch
from torch import Tensor


class Sampler:
    """Draws one row's tokens.

    Args:
        temperature: 0 takes the likeliest token.
        top_p: Mass of the smallest set of likeliest tokens that is drawn from, in (0, 1].
        seed: Seed of this row alone, so its batch mates never change what it draws.
    """

    def __init__(self, temperature: float, top_p: float, seed: int) -> None:
        self._temperature = temperature
        self._top_p = top_p
        self._generator = torch.Generator().manual_seed(seed) if temperature > 0 else None

    @property
    def greedy(self) -> bool:
        return self._generator is None

    def draw(self, logits: Tensor) -> int:
        """One token from logits `[vocabulary]`: inverse of the cumulative distribution at one uniform number.

        Computed on the host in float64, so that one seed gives one text on any device.
        """
        if self._generator is None:
            return int(logits.argmax())
        probabilities = torch.softmax(logits.to("cpu", torch.float64) / self._temperature, dim=-1)
        ordered, tokens = probabilities.sort(descending=True, stable=True)
        before = ordered.cumsum(0) - ordered
        kept = torch.where(before < self._top_p, ordered, 0.0).cumsum(0)
        at = torch.rand((), generator=self._generator, dtype=torch.float64) * kept[-1]
        return int(tokens[int(torch.searchsorted(kept, at, right=True).clamp(max=len(tokens) - 1))])
