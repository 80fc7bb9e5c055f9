"""The updates of rows that come and go, in memory of their own: they need the bank no more."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from loradex.worker.engine.layout import Layout
from loradex.worker.engine.row_vectors import RowVectors
from loradex.worker.engine.shared import SharedFactors
from loradex.worker.engine.updates import RowFactors, Updates, UpdateSum

SPARE_ROWS = 8
"""Rows that memory is made for at a time: making it for one more copies what is there."""

UNUSED = 2
"""Adapters that no row names any more go when there are so many times as many as are named: that copies."""


@dataclass(frozen=True)
class _Sharing:
    """One row's adapters: their names, and what each counts in each module, `[modules, k]`."""

    names: tuple[object, ...]
    coefficients: Tensor


class RunningUpdates:
    """Rows at places 0, 1, ...; when one leaves, the last takes its place.

    Rows that merge have factors of their own in one stack. Rows that share name adapters in another, where
    each lies once. Both are copies, so that the bank may drop an adapter, or be laid out anew, while a row that
    names it still writes.
    """

    def __init__(self) -> None:
        self._layout: Layout | None = None
        self._rows = 0
        self._merged: dict[int, Tensor] = {}
        self._merging: list[bool] = []
        self._names: list[object] = []
        self._planes: dict[int, Tensor] = {}
        self._sharing: list[_Sharing | None] = []
        self._vectors: RowVectors | None = None
        self._gated: list[bool] = []
        self.current: Updates | None = None

    def put(self, updates: Updates | None, rows: Sequence[int]) -> None:
        """Adds these rows of `updates` at the end, or none if it raises; None are rows of the bare model."""
        # Tensors are made anew, or written to at places that are nobody's yet.
        before = {name: [*value] if isinstance(value, list) else value for name, value in vars(self).items()}
        try:
            self._add(updates, rows)
        except BaseException:
            vars(self).update(before)
            raise

    def _add(self, updates: Updates | None, rows: Sequence[int]) -> None:
        own, shared, vectors = _parts(updates)
        layout = next((one.layout for one in (own, shared) if one is not None), None)
        if layout is not None:
            self._lay_out(layout)
        if own is not None or self._merged:
            self._add_merged(own, rows)
        self._merging += [own is not None] * len(rows)
        self._sharing += [self._row_of(shared, row) if shared is not None else None for row in rows]
        self._gate(vectors, rows)
        self._rows += len(rows)
        if shared is not None:
            self._hold(shared)
        self._renew()

    def drop(self, place: int) -> None:
        """Lets the row at `place` go."""
        last = self._rows - 1
        if place != last and self._merging[last]:
            for stack in self._merged.values():
                stack[:, place] = stack[:, last]
        elif place != last and self._merging[place]:
            for stack in self._merged.values():
                stack[:, place].zero_()
        self._merging[place], self._sharing[place] = self._merging[last], self._sharing[last]
        del self._merging[last], self._sharing[last]
        self._rows = last
        self._gated[place] = self._gated[last]
        del self._gated[last]
        if self._vectors is not None:
            kept = [last if row == place else row for row in range(last)]
            self._vectors = self._vectors.rows(torch.tensor(kept)) if any(self._gated) else None
        if not any(self._merging):
            self._merged = {}
        if not any(self._sharing):
            self._names, self._planes = [], {}
        elif len(self._names) > UNUSED * len(wanted := self._wanted()):
            kept = [self._names.index(name) for name in wanted]
            self._planes = {width: stack[:, kept] for width, stack in self._planes.items()}
            self._names = wanted
        self._renew()

    def _wanted(self) -> list[object]:
        """The adapters that rows name, each once."""
        return list(dict.fromkeys(name for row in self._sharing if row is not None for name in row.names))

    def _add_merged(self, own: RowFactors | None, rows: Sequence[int]) -> None:
        """Copies rows of factors to the places after the last; rows that merge nothing have zeros there."""
        layout, needed = self._require_layout(), self._rows + len(rows)
        held = next(iter(self._merged.values())).shape[1] if self._merged else 0
        if held < needed:
            some = next(iter((own.planes if own is not None else self._merged).values()))
            grown = {
                width: some.new_zeros(len(keys), needed + SPARE_ROWS, layout.rank, width)
                for width, keys in layout.planes.items()
            }
            for width, stack in self._merged.items():
                grown[width][:, : self._rows] = stack[:, : self._rows]
            self._merged = grown
        planes = _relaid(own.planes, own.layout, layout) if own is not None else {}
        for width, stack in self._merged.items():
            for place, row in enumerate(rows, self._rows):
                if own is None:
                    stack[:, place].zero_()
                else:
                    stack[:, place] = planes[width][:, row]

    def _gate(self, vectors: RowVectors | None, rows: Sequence[int]) -> None:
        """Puts the vectors of these rows behind those of the others."""
        some = None if vectors is None else vectors.rows(torch.tensor(rows))
        self._gated += [some is not None] * len(rows)
        if self._vectors is None and some is not None:
            self._vectors = RowVectors({}, some.base)
        if self._vectors is not None:
            self._vectors = self._vectors.beside(self._rows, some, len(rows))

    def _row_of(self, shared: SharedFactors, row: int) -> _Sharing | None:
        """The row's adapters without what pads; None if it has none."""
        counts = shared.coefficients[:, row]
        columns = counts.any(0).nonzero()[:, 0].tolist()
        if not columns:
            return None
        names = tuple(shared.names[place] for place in shared.places[row, columns].tolist())
        return _Sharing(names, _remapped(counts[:, columns], shared.layout, self._require_layout()))

    def _hold(self, shared: SharedFactors) -> None:
        """Makes sure that the adapters of all rows lie in memory here, each once."""
        wanted = self._wanted()
        if all(name in self._names for name in wanted):
            return
        layout = self._require_layout()
        theirs = _relaid(shared.planes, shared.layout, layout)
        old = {name: place for place, name in enumerate(self._names)}
        new = {name: place for place, name in enumerate(shared.names)}
        held = {}
        for width, keys in layout.planes.items():
            stack = theirs[width].new_empty(len(keys), len(wanted), layout.rank, width)
            for place, name in enumerate(wanted):
                stack[:, place] = (
                    self._planes[width][:, old[name]] if name in old else theirs[width][:, new[name]]
                )
            held[width] = stack
        self._names, self._planes = wanted, held

    def _renew(self) -> None:
        """The updates of the rows as they are now."""
        parts: list[Updates] = [] if self._vectors is None else [self._vectors]
        layout = self._layout
        if layout is not None and self._merged:
            parts.append(
                RowFactors(layout, {width: stack[:, : self._rows] for width, stack in self._merged.items()})
            )
        if layout is not None and any(self._sharing):
            parts.append(self._shared(layout))
        self.current = UpdateSum(parts) if len(parts) > 1 else (parts[0] if parts else None)

    def _shared(self, layout: Layout) -> SharedFactors:
        device = next(iter(self._planes.values())).device
        k = max(len(row.names) for row in self._sharing if row is not None)
        number = {name: place for place, name in enumerate(self._names)}
        places = torch.zeros(self._rows, k, dtype=torch.long)
        coefficients = torch.zeros(len(layout.modules), self._rows, k, device=device)
        for place, row in enumerate(self._sharing):
            if row is not None:
                places[place, : len(row.names)] = torch.tensor([number[name] for name in row.names])
                coefficients[:, place, : len(row.names)] = row.coefficients
        return SharedFactors(layout, self._planes, self._names, places.to(device), coefficients)

    def _lay_out(self, layout: Layout) -> None:
        """Takes a larger layout over; of two layouts of one bank, the later one has all of the earlier."""
        old = self._layout
        if old is None or not (self._merged or self._planes):
            self._layout = layout
            return
        if layout.rank <= old.rank and len(layout.modules) <= len(old.modules):
            return
        self._merged = _relaid(self._merged, old, layout) if self._merged else {}
        self._planes = _relaid(self._planes, old, layout) if self._planes else {}
        self._sharing = [
            None if row is None else _Sharing(row.names, _remapped(row.coefficients, old, layout))
            for row in self._sharing
        ]
        self._layout = layout

    def _require_layout(self) -> Layout:
        if self._layout is None:
            raise RuntimeError("rows with updates have a layout")
        return self._layout


def _parts(updates: Updates | None) -> tuple[RowFactors | None, SharedFactors | None, RowVectors | None]:
    """What composing made: factors of rows that merge, those that rows share, and vectors."""
    parts = updates.parts if isinstance(updates, UpdateSum) else (updates,)
    own = next((part for part in parts if isinstance(part, RowFactors)), None)
    shared = next((part for part in parts if isinstance(part, SharedFactors)), None)
    return own, shared, next((part for part in parts if isinstance(part, RowVectors)), None)


def _relaid(planes: Mapping[int, Tensor], old: Layout, new: Layout) -> dict[int, Tensor]:
    """Stacks `[planes, any, rank, width]` of one layout as another has them, which has all modules of it."""
    if old == new:
        return dict(planes)
    many = next(iter(planes.values()))
    laid = {
        width: many.new_zeros(len(keys), many.shape[1], new.rank, width) for width, keys in new.planes.items()
    }
    for (module, side), (width, plane) in old.places.items():
        there = new.places[new.modules.index(old.modules[module]), side]
        laid[there[0]][there[1], :, : old.rank] = planes[width][plane]
    return laid


def _remapped(coefficients: Tensor, old: Layout, new: Layout) -> Tensor:
    """Coefficients `[modules, k]` of one layout as another has them."""
    if old == new:
        return coefficients
    found = coefficients.new_zeros(len(new.modules), coefficients.shape[1])
    found[[new.modules.index(name) for name in old.modules]] = coefficients
    return found
