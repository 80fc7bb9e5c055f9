"""What adapters do to a module's output with vectors: gates on W x, and biases."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from loradex.worker.engine.base_modules import BaseModules
from loradex.worker.engine.updates import check_rows

Side = Literal["gain", "shift", "given", "whole"]
"""`gain` is by how much more each output counts, `shift` is added to it, `given` is by how much more each input counts;
`whole` is how far a weight moved.
"""

Vectors = Mapping[tuple[str, Side], Tensor]
"""By module and side: `gain` and `shift` `[d_out]`, `given` `[d_in]`, `whole` `[d_out, d_in]`; of rows `[rows, d]`."""


@dataclass(frozen=True)
class Whole:
    """How far one adapter moves a module's weight, `[d_out, d_in]`, and how much that counts in each row, `[rows]`."""

    moved: Tensor
    counts: Tensor

    def add(self, module: str, x: Tensor, out: Tensor) -> None:
        check_rows(module, x, len(self.counts))
        rows = self.counts.nonzero()[:, 0]
        if not len(rows):
            return
        given = x[rows]
        # Words pick columns.
        made = given.to(self.moved.dtype) @ self.moved.T if x.is_floating_point() else self.moved.T[given]
        out.index_add_(0, rows, (made * self.counts[rows].view(-1, 1, 1)).to(out.dtype))


class RowVectors:
    """Each row's own vectors: out += gain * out + shift + W (given * x), and weights that moved, out += dW x.

    They come before other updates: what is gated is the base model's output alone.

    Args:
        vectors: Of all rows, `[rows, d]` each.
        base: The base model's modules.
        wholes: Weights that moved, by module; rows that name one adapter share its memory.
    """

    def __init__(
        self, vectors: Vectors, base: BaseModules, wholes: Mapping[str, Sequence[Whole]] | None = None
    ) -> None:
        self.vectors = vectors
        self.base = base
        self.wholes = wholes or {}

    @classmethod
    def mixed(cls, adapters: Sequence[Vectors], coefficients: Tensor, base: BaseModules) -> "RowVectors":
        """The sums of adapters' vectors by `coefficients` `[rows, adapters]`."""
        found: dict[tuple[str, Side], list[int]] = {}
        wholes: dict[str, list[Whole]] = {}
        for place, vectors in enumerate(adapters):
            for (module, side), one in vectors.items():
                if side == "whole":
                    wholes.setdefault(module, []).append(Whole(one, coefficients[:, place]))
                else:
                    found.setdefault((module, side), []).append(place)
        return cls(
            {
                key: coefficients[:, places] @ torch.stack([adapters[place][key] for place in places])
                for key, places in found.items()
            },
            base,
            wholes,
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
        for whole in self.wholes.get(module, ()):
            whole.add(module, x, out)

    def rows(self, index: slice | Tensor) -> "RowVectors":
        return RowVectors(
            {key: vector[index] for key, vector in self.vectors.items()},
            self.base,
            {
                # One that counts for no row any more is let go: it may be as large as the model's head.
                module: [Whole(one.moved, counts) for one in some if (counts := one.counts[index]).any()]
                for module, some in self.wholes.items()
            },
        )

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
        return RowVectors(joined, self.base, self._wholes_beside(others, more, count))

    def _wholes_beside(
        self, others: int, more: "RowVectors | None", count: int
    ) -> Mapping[str, Sequence[Whole]]:
        """Those that still count in a row; what two sides have in common lies in memory once."""
        joined: dict[str, dict[int, Whole]] = {}
        for module, some in self.wholes.items():
            for one in some:
                counts = torch.cat([one.counts, one.counts.new_zeros(count)])
                joined.setdefault(module, {})[id(one.moved)] = Whole(one.moved, counts)
        for module, some in ({} if more is None else more.wholes).items():
            for one in some:
                known = joined.setdefault(module, {}).get(id(one.moved))
                before = one.counts.new_zeros(others) if known is None else known.counts[:others]
                joined[module][id(one.moved)] = Whole(one.moved, torch.cat([before, one.counts]))
        return {module: [one for one in some.values() if one.counts.any()] for module, some in joined.items()}
