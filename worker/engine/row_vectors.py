"""What adapters do to a module's output with vectors: gates on W x, and biases."""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from loradex.worker.engine.base_modules import BaseModules
from loradex.worker.engine.updates import check_rows

Side = Literal["gain", "shift", "given"]
"""`gain` is by how much more each output counts, `shift` is added to it, `given` is by how much more each input counts.
"""

Vectors = Mapping[tuple[str, Side], Tensor]
"""By module and side: `gain` and `shift` `[d_out]`, `given` `[d_in]`; of rows `[rows, d]`."""


class RowVectors:
    """Each row's own vectors: out += gain * out + shift + W (given * x).

    They come before other updates: what is gated is the base model's output alone.

    Args:
        vectors: Of all rows, `[rows, d]` each.
        base: The base model's modules.
    """

    def __init__(self, vectors: Vectors, base: BaseModules) -> None:
        self.vectors = vectors
        self.base = base

    @classmethod
    def mixed(cls, adapters: Sequence[Vectors], coefficients: Tensor, base: BaseModules) -> "RowVectors":
        """The sums of adapters' vectors by `coefficients` `[rows, adapters]`."""
        found: dict[tuple[str, Side], list[int]] = {}
        for place, vectors in enumerate(adapters):
            for key in vectors:
                found.setdefault(key, []).append(place)
        return cls(
            {
                key: coefficients[:, places] @ torch.stack([adapters[place][key] for place in places])
                for key, places in found.items()
            },
            base,
        )

    def add(self, module: str, x: Tensor, out: Tensor) -> None:
        gain, shift, given = (
            self.vectors.get((module, "gain")),
            self.vectors.get((module, "shift")),
            self.vectors.get((module, "given")),
        )
        for vector in (gain, shift, given):
            if vector is not None:
                check_rows(module, x, len(vector))
        # All of it is of the plain output.
        gated = None if given is None else self.base.product(module, x * given.unsqueeze(1).to(x.dtype))
        if gain is not None:
            out.addcmul_(out, gain.unsqueeze(1).to(out.dtype))
        if shift is not None:
            out.add_(shift.unsqueeze(1).to(out.dtype))
        if gated is not None:
            out.add_(gated)

    def rows(self, index: slice | Tensor) -> "RowVectors":
        return RowVectors({key: vector[index] for key, vector in self.vectors.items()}, self.base)

    def beside(self, others: int, more: "RowVectors | None", count: int) -> "RowVectors":
        """These `others` rows and then `count` rows of `more`, which are none of its own where it is None."""
        theirs: Vectors = {} if more is None else more.vectors
        joined: dict[tuple[str, Side], Tensor] = {}
        for key in dict.fromkeys([*self.vectors, *theirs]):
            some = self.vectors[key] if key in self.vectors else theirs[key]
            joined[key] = torch.cat(
                [
                    self.vectors[key] if key in self.vectors else some.new_zeros(others, some.shape[1]),
                    theirs[key] if key in theirs else some.new_zeros(count, some.shape[1]),
                ]
            )
        return RowVectors(joined, self.base)
