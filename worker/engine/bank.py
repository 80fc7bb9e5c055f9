"""The adapters of one base model, stacked on the device; keyed by content, so nothing stale can answer."""

import threading
import time
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from loradex.errors import AdapterRefusedError, InvalidArgumentError, LoradexError, UnknownNameError
from loradex.worker.engine.base_modules import BaseModules
from loradex.worker.engine.factors import Adapter, read_adapter
from loradex.worker.engine.layout import Layout, Shape
from loradex.worker.engine.merging import trim
from loradex.worker.engine.row_vectors import Vectors

EMPTY_SLOT = 0
"""The slot that holds no adapter; it pads mixtures shorter than their batch's longest."""

AHEAD_BYTES = 256 << 20
"""Bytes of adapters that were read before they were needed, at most."""


@dataclass(frozen=True)
class Key:
    """One entry of the bank: an adapter as it is (`density` None), or trimmed to a density."""

    sha256: str
    density: float | None = None


@dataclass
class BankCounts:
    """What the bank did since it was made."""

    hits: int = 0
    misses: int = 0
    evictions: int = 0
    miss_seconds: float = 0.0


class AdapterBank:
    """Adapters on the device up to a byte budget, least recently used out; the rest wait on host or disk.

    Args:
        shapes: Every module an adapter may change, by name.
        device: Where the stacks lie.
        dtype: Their numbers.
        budget: Bytes of the stacks.
        host_budget: Bytes of adapters kept parsed in host memory; 0 reads them from their files again, which
            is right where device and host memory are the same.
        base: The base model's modules; without them kinds that change its weights are refused.
    """

    def __init__(
        self,
        shapes: Mapping[str, Shape],
        device: torch.device,
        dtype: torch.dtype,
        budget: int,
        host_budget: int,
        *,
        base: BaseModules | None = None,
    ) -> None:
        self.device = device
        self.base = base
        self.dtype = dtype
        self.counts = BankCounts()
        self._shapes = shapes
        self._budget = budget
        self._host_budget = host_budget
        self._directories: dict[str, Path] = {}
        self._host: OrderedDict[str, Adapter] = OrderedDict()
        self._ahead: OrderedDict[str, Adapter] = OrderedDict()
        self._ahead_lock = threading.Lock()
        self._norms: dict[str, float] = {}
        self._merges: dict[str, tuple[str, ...] | None] = {}
        self._invoked_by: dict[str, tuple[int, ...]] = {}
        self._whole: dict[str, int] = {}
        self._ranks: dict[str, Mapping[str, int]] = {}
        # Thousands of adapters have a few shapes: kept once each, they weigh nothing.
        self._alike: dict[tuple[tuple[str, int], ...], Mapping[str, int]] = {}
        self._clear()

    def _clear(self) -> None:
        self.layout = Layout(0, {})
        self.slots = 1
        self.stacks: dict[int, Tensor] = {}
        self.scaling = torch.zeros(0, 1, device=self.device)
        # Not an OrderedDict, which cannot be copied while another thread uses entries: see `fetch`.
        self._entries: dict[Key, int] = {}
        self._vectors: dict[Key, Vectors] = {}
        self._free: list[int] = []

    def _lay_out(self, layout: Layout) -> None:
        """Lays the bank out anew, with all modules of the old layout. What was used last stays, as far as it fits."""
        try:
            self._move_to(layout)
        except BaseException:
            self._clear()  # Out of memory, half way: the next adapter begins anew.
            self._ranks.clear()
            raise

    def _move_to(self, layout: Layout) -> None:
        old, self.layout = self.layout, layout
        self.slots = 1 + max(1, self._budget // self.slot_bytes)
        kept = list(self._entries.items())[max(0, len(self._entries) - self.capacity) :]
        self.counts.evictions += len(self._entries) - len(kept)
        there = slice(1, 1 + len(kept))
        held = torch.tensor([slot for _, slot in kept], dtype=torch.long, device=self.device)
        moved = [layout.modules.index(name) for name in old.modules]
        # One width after the other, so that old and new are never in memory at once but for one of them.
        for width, planes in layout.planes.items():
            stack = torch.zeros(
                len(planes), self.slots, layout.rank, width, dtype=self.dtype, device=self.device
            )
            before = self.stacks.pop(width, stack)
            for plane, (module, side) in enumerate(old.planes.get(width, ())):
                _, new = layout.places[moved[module], side]
                stack[new, there, : old.rank] = before[plane, held]
            self.stacks[width] = stack
            del before
        scaling = torch.zeros(len(layout.modules), self.slots, device=self.device)
        scaling[moved, there] = self.scaling[:, held]
        self.scaling = scaling
        self._entries = {key: slot for slot, (key, _) in enumerate(kept, 1)}
        self._vectors = {key: one for key, one in self._vectors.items() if key in self._entries}
        self._free = list(range(self.slots - 1, len(kept), -1))

    @property
    def sizes(self) -> Mapping[str, tuple[int, int]]:
        """Every module an adapter may change, with its weight's `(d_out, d_in)`; of norms with a bias d_in is 0."""
        sizes = {name: (shape.d_out, shape.d_in) for name, shape in self._shapes.items()}
        return sizes | (
            {} if self.base is None else {name: (wide, 0) for name, wide in self.base.norms.items()}
        )

    @property
    def capacity(self) -> int:
        """Entries that fit at once (of the layout so far; a larger rank or more modules shrink it)."""
        return self.slots - 1

    def holds(self, keys: Collection[Key]) -> bool:
        """Whether these entries, whose adapters were made known, fit at once."""
        whole = sum(self._whole.get(key.sha256, 0) for key in keys)
        return len(keys) <= self.capacity and whole <= self._budget

    @property
    def slot_bytes(self) -> int:
        """Bytes of one entry."""
        return self.layout.slot_bytes(self.dtype.itemsize)

    @property
    def resident(self) -> Sequence[Key]:
        return tuple(self._entries)

    @property
    def held(self) -> int:
        """How many entries are on the device."""
        return len(self._entries)

    @property
    def nbytes(self) -> int:
        return sum(stack.nbytes for stack in self.stacks.values())

    def ensure(self, directories: Mapping[str, Path | str]) -> None:
        """Makes adapters known by content hash, and reads those that are not in the bank.

        Raises:
            AdapterChangedError: Files are gone or no longer have that hash.
            AdapterRefusedError: Files cannot be composed exactly, or do not fit this base model.
        """
        for sha256, directory in directories.items():
            self._directories[sha256] = Path(directory)
            self.ranks(sha256)

    def fetch(self, directories: Mapping[str, Path]) -> None:
        """Reads the files of adapters that are not in the bank, and keeps what it read until they are needed.

        For any thread. What goes wrong here goes wrong again where the adapter is needed, and is raised there.
        """
        for sha256, directory in directories.items():
            if sha256 in self._ahead or any(key.sha256 == sha256 for key in tuple(self._entries)):
                continue
            with suppress(LoradexError, OSError):
                adapter = read_adapter(directory, sha256, self.base)
                with self._ahead_lock:
                    self._ahead[sha256] = adapter
                    while sum(one.nbytes for one in self._ahead.values()) > AHEAD_BYTES:
                        self._ahead.popitem(last=False)

    def ranks(self, sha256: str) -> Mapping[str, int]:
        """Rank of each module the adapter changes; a new one may widen the layout, and then fewer entries fit."""
        if sha256 not in self._ranks:
            adapter = self._adapter(sha256)
            self._widen(adapter)
            self._norms[sha256] = adapter.norm()
            self._merges[sha256] = adapter.merges
            self._invoked_by[sha256] = adapter.invoked_by
            self._whole[sha256] = adapter.whole_bytes
            ranks = {name: factor.rank for name, factor in adapter.factors.items()}
            self._ranks[sha256] = self._alike.setdefault(tuple(ranks.items()), ranks)
        return self._ranks[sha256]

    def norm(self, sha256: str) -> float:
        """Frobenius norm of the adapter's own update."""
        self.ranks(sha256)
        return self._norms[sha256]

    def merges(self, sha256: str) -> tuple[str, ...] | None:
        """The merges that are defined for an adapter of its kind; None is every merge."""
        self.ranks(sha256)
        return self._merges[sha256]

    def invoked_by(self, sha256: str) -> tuple[int, ...]:
        """The tokens of a prompt from which on the adapter counts; none is always."""
        self.ranks(sha256)
        return self._invoked_by[sha256]

    def vectors(self, key: Key) -> Vectors:
        """Gates and biases of an entry that is in the bank, float32; few have any, and they lie beside the slots."""
        return self._vectors.get(key, {})

    def acquire(self, keys: Iterable[Key]) -> dict[Key, int]:
        """The slots of these entries, all in the bank at once until the next call.

        Raises:
            InvalidArgumentError: More entries than the bank holds.
            AdapterChangedError, AdapterRefusedError, UnknownNameError: An entry cannot be read.
        """
        wanted = list(dict.fromkeys(keys))
        for key in wanted:
            self.ranks(key.sha256)
        if len(wanted) > self.capacity:
            raise InvalidArgumentError(
                f"{len(wanted)} adapters are needed at once and the bank holds {self.capacity}; "
                "raise its byte budget"
            )
        missing = [key for key in wanted if key not in self._entries]
        self.counts.hits += len(wanted) - len(missing)
        self.counts.misses += len(missing)
        start = time.perf_counter()
        for key in wanted:
            if key in self._entries:
                self._entries[key] = self._entries.pop(key)
        for key in missing:
            adapter = self._adapter(key.sha256)
            self._make_room(adapter.whole_bytes, wanted)
            self._place(key, adapter)
        if missing:
            self.counts.miss_seconds += time.perf_counter() - start
        return {key: self._entries[key] for key in wanted}

    def _make_room(self, whole: int, wanted: Sequence[Key]) -> None:
        """Lets entries with whole modules go until so many bytes of them may come: they have the budget once more.

        Raises:
            InvalidArgumentError: Those that are wanted do not fit together.
        """
        held = {key: _whole_bytes(vectors) for key, vectors in self._vectors.items()}
        for key in [key for key in self._entries if whole and held.get(key)]:
            if sum(held.values()) + whole <= self._budget:
                return
            if key not in wanted:
                self._vectors.pop(key)
                self._free.append(self._entries.pop(key))
                self.counts.evictions += 1
                del held[key]
        if whole and sum(held.values()) + whole > self._budget:
            raise InvalidArgumentError(
                f"whole modules of adapters need {sum(held.values()) + whole} bytes at once, they have {self._budget}; "
                "raise the bank's byte budget"
            )

    def _place(self, key: Key, adapter: Adapter) -> None:
        if not self._free:
            longest_unused = next(iter(self._entries))
            self._free.append(self._entries.pop(longest_unused))
            self._vectors.pop(longest_unused, None)
            self.counts.evictions += 1
        slot = self._free.pop()
        for stack in self.stacks.values():
            stack[:, slot].zero_()
        scaling = torch.zeros(len(self.layout.modules))
        for index, name in enumerate(self.layout.modules):
            factor = adapter.factors.get(name)
            if factor is None:
                continue
            scaling[index] = factor.scaling
            for side, tensor in (("A", factor.a), ("B", factor.b)):
                kept = tensor if key.density is None else trim(tensor, key.density)
                width, plane = self.layout.places[index, side]
                self.stacks[width][plane, slot, : factor.rank].copy_(kept if side == "A" else kept.T)
        self.scaling[:, slot].copy_(scaling)
        if adapter.vectors:
            self._vectors[key] = {place: one.to(self.device) for place, one in adapter.vectors.items()}
        self._entries[key] = slot

    def _widen(self, adapter: Adapter) -> None:
        """Lays the bank out anew if an adapter needs a larger rank or more modules."""
        # Modules that are only gated have a place too, of zeros: their updates are measured beside those of others.
        gated = {name for name, side in adapter.vectors if side != "shift"}
        names = set(self.layout.modules) | set(adapter.factors) | gated
        rank = max(self.layout.rank, adapter.rank, 1)
        if rank > self.layout.rank or len(names) > len(self.layout.modules):
            self._lay_out(
                Layout(rank, {name: shape for name, shape in self._shapes.items() if name in names})
            )

    def _adapter(self, sha256: str) -> Adapter:
        """The adapter from the host tier, or from its files."""
        if sha256 in self._host:
            self._host.move_to_end(sha256)
            return self._host[sha256]
        directory = self._directories.get(sha256)
        with self._ahead_lock:
            ahead = self._ahead.pop(sha256, None)
        if directory is None:
            raise UnknownNameError(
                f"no adapter with content hash {sha256[:12]} was made known; register it first"
            )
        adapter = read_adapter(directory, sha256, self.base) if ahead is None else ahead
        self._check(directory, adapter)
        if adapter.nbytes <= self._host_budget:
            self._host[sha256] = adapter
            while sum(kept.nbytes for kept in self._host.values()) > self._host_budget:
                self._host.popitem(last=False)
        return adapter

    def _check(self, directory: Path, adapter: Adapter) -> None:
        if adapter.whole_bytes > self._budget:
            raise AdapterRefusedError(
                f"{directory}: its whole modules need {adapter.whole_bytes} bytes, and have {self._budget}; "
                "raise LORADEX_BANK_BYTES, or train it without modules_to_save"
            )
        for name, factor in adapter.factors.items():
            shape = self._shapes.get(name)
            if shape is None:
                raise AdapterRefusedError(
                    f"{directory} changes {name}, which is not a linear module of this base model, nor its embedding; "
                    "register it for the model it was trained on"
                )
            if (factor.a.shape[1], factor.b.shape[0]) != (shape.d_in, shape.d_out):
                raise AdapterRefusedError(
                    f"{directory}: {name} is {shape.d_in} -> {shape.d_out} here, "
                    f"but {factor.a.shape[1]} -> {factor.b.shape[0]} in the adapter; register it for the model "
                    "it was trained on"
                )


def _whole_bytes(vectors: Vectors) -> int:
    return sum(one.nbytes for (_, side), one in vectors.items() if side == "whole")
