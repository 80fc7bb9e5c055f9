"""The low-rank part of an adapter's update of one module."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Factor:
    """The update of one module, `scaling * B @ A`: A `[r, d_in]` and B `[d_out, r]`, float32 on the host."""

    a: Tensor
    b: Tensor
    scaling: float

    @property
    def rank(self) -> int:
        return self.a.shape[0]

    def norm_squared(self) -> float:
        """|scaling * B A|_F^2 = scaling^2 * sum((A A^T) * (B^T B)): the product itself is never formed."""
        return self.scaling**2 * float(((self.a @ self.a.T) * (self.b.T @ self.b)).sum())


def beside(one: Factor | None, other: Factor) -> Factor:
    """The sum of two updates of a module as one, whose rank is the sum of theirs."""
    if one is None:
        return other
    scaled = torch.cat([one.scaling * one.b, other.scaling * other.b], 1)
    return Factor(torch.cat([one.a, other.a]), scaled, 1.0)
