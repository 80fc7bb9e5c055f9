"""Memory for merged factors that is used again: fresh pages would cost more than a merge."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

KEPT = 2
"""Free spaces kept for each width: those of two compositions at a time."""


class Spaces:
    """Uncleared tensors of one dtype on one device, lent and given back."""

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self._device = device
        self._dtype = dtype
        self._free: dict[int, list[Tensor]] = {}

    def take(self, width: int, shape: Sequence[int]) -> Tensor:
        """A flat tensor of at least that many numbers; see `shaped`."""
        size, free = math.prod(shape), self._free.setdefault(width, [])
        for place, space in enumerate(free):
            if space.numel() >= size:
                return free.pop(place)
        if free:
            free.pop()  # Too small: what is needed grows, and this one would lie about.
        return torch.empty(size, dtype=self._dtype, device=self._device)

    def give_back(self, width: int, space: Tensor) -> None:
        """Whoever took it uses it no more."""
        free = self._free.setdefault(width, [])
        if len(free) < KEPT:
            free.append(space)


def shaped(space: Tensor, shape: Sequence[int]) -> Tensor:
    """The first numbers of a space in that shape."""
    return space[: math.prod(shape)].view(*shape)
