"""Updates of rows that name some of the same adapters, without a copy of the adapters for each row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from loradex.worker.engine.layout import Layout
from loradex.worker.engine.updates import check_rows

ADAPTER_COPY_COST_TOKENS = 12
"""Copying one adapter of a row takes the time of that many products of an adapter with one token."""


@dataclass
class _Readers:
    """Modules that are given the same tensor, and their products with the last one they were given."""

    modules: int
    a: Tensor  # [modules * adapters * rank, d_in]
    coefficients: Tensor  # [modules * adapters, 1, rows, 1]
    counts: Tensor | None = None  # [1, adapters, 1, rows, tokens], where not all adapters count at all tokens
    x: Tensor | None = None
    narrow: Sequence[Tensor] = ()  # for each module, [rows * tokens, adapters * rank]

    def read(self, x: Tensor) -> None:
        """Computes the products with `x`, for all the modules at once."""
        # Words pick columns of A.
        narrow = torch.mm(self.a, x.flatten(0, 1).T) if x.is_floating_point() else self.a[:, x.flatten()]
        narrow.view(len(self.coefficients), -1, *x.shape[:2]).mul_(self.coefficients)
        if self.counts is not None:
            # A head may be given the last tokens alone.
            by_adapter = narrow.view(self.modules, self.counts.shape[1], -1, *x.shape[:2])
            by_adapter.mul_(self.counts[..., -x.shape[1] :])
        apart = narrow.view(self.modules, -1, narrow.shape[1])
        self.x, self.narrow = x, apart.transpose(1, 2).unbind()


class SharedFactors:
    """The exact sum of each row's adapters (`cat`): out += sum over i of c_i (x A_i^T) B_i.

    A batch of 16 rows that name 4 of 22 adapters each would copy 64; here 22 lie in memory, and a token meets
    all of them in one product, where those its row does not name count 0 between A and B. That reads a third
    of the memory, and modules that are given the same tensor do the first half in one product. Long rows copy
    their own adapters, a module at a time, and meet no others.

    A product that overflows makes NaN of a row that does not name the adapter too; the engine asks such rows
    again, alone.

    Args:
        layout: Where each module's factors lie.
        planes: For each width, `[planes, adapters, rank, width]`.
        names: What each of the adapters is called.
        places: Which adapters each row names, `[rows, k]`; any with coefficient 0 pads.
        coefficients: c, `[modules, rows, k]`, float32.
        invoked_by: Of some adapters the tokens from which on they count, by name.
        starts: The first token at which each adapter counts in each row, `[rows, adapters]`; None is 0.
        at: The tokens that are read, by their numbers, `[rows, tokens]`; None are those after all starts.
    """

    def __init__(
        self,
        layout: Layout,
        planes: Mapping[int, Tensor],
        names: Sequence[object],
        places: Tensor,
        coefficients: Tensor,
        *,
        invoked_by: Mapping[object, tuple[int, ...]] | None = None,
        starts: Tensor | None = None,
        at: Tensor | None = None,
    ) -> None:
        self.layout = layout
        self.invoked_by = invoked_by or {}
        self.starts = starts
        self.planes = planes
        self.names = names
        self.places = places
        self.coefficients = coefficients
        dtype, adapters = next((stack.dtype, stack.shape[1]) for stack in planes.values())
        modules, self._rows, k = coefficients.shape
        self._own = coefficients.to(dtype).view(modules, self._rows, k, 1, 1)
        summed = torch.zeros(modules, self._rows, adapters, device=places.device)
        summed.scatter_add_(2, places.expand(modules, -1, -1), coefficients)
        met = summed.to(dtype).transpose(1, 2).reshape(modules, adapters, 1, self._rows, 1)
        self._counts = None if starts is None or at is None else at.unsqueeze(1) >= starts.unsqueeze(2)
        counts = None if self._counts is None else self._counts.to(dtype).transpose(0, 1)[None, :, None]
        self._tokens = ADAPTER_COPY_COST_TOKENS * k / max(adapters - k, 1)
        self._modules: dict[str, tuple[_Readers, int, Tensor]] = {}
        for run in layout.readers:
            width, first = layout.places[run.start, "A"]
            a = planes[width][first : first + len(run)].flatten(0, 2)
            readers = _Readers(len(run), a, met[run.start : run.stop].flatten(0, 1), counts)
            for place, index in enumerate(run):
                wide_b, b = layout.places[index, "B"]
                self._modules[layout.modules[index]] = (readers, place, planes[wide_b][b].flatten(0, 1))

    def add(self, module: str, x: Tensor, out: Tensor) -> None:
        found = self._modules.get(module)
        if found is None:
            return
        readers, place, b = found
        if x is not readers.x:
            check_rows(module, x, self._rows)
            if x.shape[1] > self._tokens and x.is_floating_point():
                self._apart(module, x, out)
                return
            readers.read(x)
        out.flatten(0, 1).addmm_(readers.narrow[place].to(out.dtype), b.to(out.dtype))

    def _apart(self, module: str, x: Tensor, out: Tensor) -> None:
        index = self.layout.modules.index(module)
        rows, k = self.places.shape
        of_a, of_b = (
            self.planes[width][plane].index_select(0, self.places.flatten()).view(rows, -1, width)
            for width, plane in (self.layout.places[index, side] for side in ("A", "B"))
        )
        narrow = torch.bmm(of_a, x.transpose(1, 2))
        narrow.view(rows, k, self.layout.rank, -1).mul_(self._own[index])
        if self._counts is not None:
            own = self._counts.gather(1, self.places.unsqueeze(2).expand(-1, -1, self._counts.shape[2]))
            narrow.view(rows, k, self.layout.rank, -1).mul_(own[:, :, None, -x.shape[1] :])
        out.baddbmm_(narrow.transpose(1, 2).to(out.dtype), of_b.to(out.dtype))

    def rows(self, index: slice | Tensor) -> "SharedFactors":
        return SharedFactors(
            self.layout,
            self.planes,
            self.names,
            self.places[index],
            self.coefficients[:, index],
            invoked_by=self.invoked_by,
            starts=None if self.starts is None else self.starts[index],
        )
