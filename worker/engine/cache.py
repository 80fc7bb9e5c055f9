"""The keys and values of a batch: one buffer that groups of rows write into and rows that are done leave."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

GROWTH = 64
"""Columns a full buffer grows by; growing copies, so not one by one."""


class Store:
    """Buffers `[rows, heads, columns, head_dim]`, two a layer; all prompts end at one column.

    Args:
        layers: Layers of the model.
        rows: Rows of the batch.
        columns: Columns to begin with.
    """

    def __init__(self, layers: int, rows: int, columns: int) -> None:
        self.rows = rows
        self.columns = columns
        self.keys: list[Tensor | None] = [None] * layers
        self.values: list[Tensor | None] = [None] * layers

    def write(self, layer: int, rows: slice, first: int, keys: Tensor, values: Tensor) -> None:
        """Puts new keys and values `[rows, heads, tokens, head_dim]` at column `first`."""
        end = first + keys.shape[2]
        for kept, new in ((self.keys, keys), (self.values, values)):
            buffer = kept[layer]
            if buffer is None or buffer.shape[2] < end:
                columns = max(self.columns, end + GROWTH) if buffer is not None else max(self.columns, end)
                grown = new.new_zeros(self.rows, new.shape[1], columns, new.shape[3])
                if buffer is not None:
                    grown[:, :, : buffer.shape[2]] = buffer
                kept[layer] = buffer = grown
            buffer[rows, :, first:end] = new

    def read(self, layer: int, rows: slice, first: int, end: int) -> tuple[Tensor, Tensor]:
        keys, values = self.keys[layer], self.values[layer]
        if keys is None or values is None:
            raise RuntimeError(f"layer {layer} was read before it was written")
        return keys[rows, :, first:end], values[rows, :, first:end]

    def buffers(self) -> list[Tensor]:
        """Those that were written to, keys before values."""
        return [buffer for buffer in (*self.keys, *self.values) if buffer is not None]

    @property
    def token_bytes(self) -> int:
        """Bytes that one token of one row takes."""
        return sum(buffer[0, :, 0].nbytes for buffer in self.buffers())

    def take_over(self, other: "Store", rows: int, columns: slice, first: int) -> None:
        """Copies the first `rows` of another store, of which only these columns count, to column `first` on.

        All else in the new buffers is zero: attention multiplies what it does not see by zero too.
        """
        for mine, theirs in ((self.keys, other.keys), (self.values, other.values)):
            for layer, buffer in enumerate(theirs):
                if buffer is None:
                    continue
                made = buffer.new_zeros(self.rows, buffer.shape[1], self.columns, buffer.shape[3])
                made[:rows, :, first : first + columns.stop - columns.start] = buffer[:rows, :, columns]
                mine[layer] = made

    def copied(self, rows: slice, read: int, columns: int) -> "Store":
        """A store of some of these rows, with so many columns, of which the first `read` are as they are here."""
        made = Store(len(self.keys), len(range(*rows.indices(self.rows))), columns)
        for mine, theirs in ((made.keys, self.keys), (made.values, self.values)):
            for layer, buffer in enumerate(theirs):
                if buffer is not None:
                    copy = buffer.new_zeros(made.rows, buffer.shape[1], columns, buffer.shape[3])
                    copy[:, :, :read] = buffer[rows, :, :read]
                    mine[layer] = copy
        return made

    def beside(self, other: "Store") -> Iterator[tuple[Tensor, Tensor]]:
        """Each buffer of this store with that of the other; those that only the other has are made."""
        for mine, theirs in ((self.keys, other.keys), (self.values, other.values)):
            for layer, buffer in enumerate(theirs):
                if buffer is None:
                    continue
                kept = mine[layer]
                if kept is None:
                    kept = mine[layer] = buffer.new_zeros(
                        self.rows, buffer.shape[1], self.columns, buffer.shape[3]
                    )
                yield kept, buffer


class StoreView(Cache):  # type: ignore[misc]
    """Some rows of a store from a column on, as the cache a Hugging Face model writes and reads.

    Args:
        store: The buffers.
        rows: Rows this view is of.
        first: Column of the view's first token.
        length: Tokens already there.
    """

    def __init__(self, store: Store, rows: slice, first: int, length: int = 0) -> None:
        super().__init__(
            layers=[_Layer(store, layer, rows, first, length) for layer in range(len(store.keys))]
        )


class _Layer(CacheLayerMixin):  # type: ignore[misc]
    is_sliding = False

    def __init__(self, store: Store, layer: int, rows: slice, first: int, length: int) -> None:
        super().__init__()
        self._store, self._layer, self._rows, self._first, self._length = store, layer, rows, first, length
        self.is_initialized = True

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Nothing to prepare: the store makes its buffers when it is first written."""

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        self._store.write(self._layer, self._rows, self._first + self._length, key_states, value_states)
        self._length += key_states.shape[2]
        return self._store.read(self._layer, self._rows, self._first, self._first + self._length)

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self._length + query_length, 0

    def get_seq_length(self) -> int:
        return self._length

    def get_max_length(self) -> int:
        return -1


def padding_mask(lengths: Tensor, columns: int) -> Tensor:
    """`[rows, columns]`, True where a row of that length, padded on the left, has a token."""
    return torch.arange(columns, device=lengths.device) >= (columns - lengths).unsqueeze(1)
