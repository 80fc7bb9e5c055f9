"""From the recipes of a batch to the factors of its rows."""

import time
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from db.errors import InvalidArgumentError
from worker.engine import merging
from worker.engine.bank import ZERO, AdapterBank, Key
from worker.engine.pairs import PairTable, mixture_norm, sign_conflict, update_norms
from worker.engine.recipe import Recipe
from worker.engine.rows import MergeReport
from worker.engine.updates import RowFactors


def keys_of(recipe: Recipe) -> tuple[Key, ...]:
    """The entries of the bank a recipe needs."""
    return tuple(Key(part.sha256, recipe.trim) for part in recipe.components)


def check(bank: AdapterBank, recipe: Recipe) -> None:
    """Refuses a mixture PEFT refuses too.

    Raises:
        InvalidArgumentError: Adapters of unequal rank in a merge that adds factors entry by entry.
        AdapterChangedError, AdapterRefusedError, UnknownNameError: An adapter cannot be read.
    """
    ranks: dict[str, int] = {}
    for part in recipe.components:
        for module, rank in bank.ranks(part.sha256).items():
            if ranks.setdefault(module, rank) != rank and recipe.merge != "cat":
                raise InvalidArgumentError(
                    f"{recipe.method} needs adapters of one rank, and {module} has {ranks[module]} and {rank}; use cat"
                )


class Composer:
    """Merges a batch's mixtures out of the bank.

    Args:
        bank: Where the adapters are.
        chunk_bytes: Bytes of picked factors handled at once: what a CPU's cache holds, what fills a GPU.
    """

    def __init__(self, bank: AdapterBank, chunk_bytes: int) -> None:
        self._bank = bank
        self._pairs = PairTable(bank)
        self._chunk_bytes = chunk_bytes

    def compose(self, recipes: Sequence[Recipe]) -> tuple[RowFactors | None, list[MergeReport]]:
        """The factors of these rows (None if all are the bare model), and what each mixture turned out to be.

        Raises:
            InvalidArgumentError: The bank cannot hold the batch's adapters at once.
        """
        start = time.perf_counter()
        keys = [keys_of(recipe) for recipe in recipes]
        entries = self._bank.acquire(key for row in keys for key in row)
        if not entries:
            return None, [MergeReport(0.0, 0.0, 0.0, ()) for _ in recipes]
        weights = [[part.weight for part in recipe.components] for recipe in recipes]
        held = self._merge([recipe.merge for recipe in recipes], [[entries[key] for key in row] for row in keys], weights)
        pairs = self._pairs.of(keys, entries)
        component_norms = [tuple(self._bank.norm(part.sha256) for part in recipe.components) for recipe in recipes]
        merged_norms = self._norms(recipes, held)
        norms = [
            mixture_norm(weights[row], pairs[row]) if recipe.merge == "cat" else merged_norms[row]
            for row, recipe in enumerate(recipes)
        ]
        norms = self._calibrate(recipes, weights, component_norms, norms, held)
        milliseconds = 1000 * (time.perf_counter() - start) / len(recipes)
        return RowFactors(self._bank.layout, held), [
            MergeReport(norms[row], sign_conflict(weights[row], pairs[row]), milliseconds, component_norms[row])
            for row in range(len(recipes))
        ]

    def _merge(
        self, merges: Sequence[str], slots: Sequence[Sequence[int]], weights: Sequence[Sequence[float]]
    ) -> dict[int, Tensor]:
        """The rows' factors, `[planes, rows, rank, width]` for each width; bare rows and spare rank are zero."""
        bank = self._bank
        groups = {merge: [row for row, of in enumerate(merges) if of == merge and slots[row]] for merge in set(merges)}
        groups = {merge: rows for merge, rows in groups.items() if rows}
        widest = max(len(slots[row]) for row in groups["cat"]) if "cat" in groups else 1
        rank = bank.layout.rank * widest
        alone = len(groups) == 1 and len(next(iter(groups.values()))) == len(merges)
        make = torch.empty if alone else torch.zeros
        held = {
            width: make(len(planes), len(merges), rank, width, dtype=bank.dtype, device=bank.device)
            for width, planes in bank.layout.planes.items()
        }
        for merge, rows in groups.items():
            k = max(len(slots[row]) for row in rows)
            picked = torch.tensor([[*slots[row], *[ZERO] * (k - len(slots[row]))] for row in rows], device=bank.device)
            mixed = torch.tensor(
                [[*weights[row], *[0.0] * (k - len(weights[row]))] for row in rows], device=bank.device
            )
            index = slice(None) if alone else torch.tensor(rows, device=bank.device)
            for width, out in held.items():
                for planes, block in self._blocks(merge, width, picked, mixed):
                    out[planes, index, : block.shape[2]] = block.to(bank.dtype)
        return held

    def _blocks(self, merge: str, width: int, slots: Tensor, weights: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Merged factors `[planes, rows, rank, width]`, a few planes at a time."""
        bank = self._bank
        rank, (rows, k) = bank.layout.rank, slots.shape
        stack, slots_here = self._narrowed(bank.stacks[width], slots) if merge in _DENSE else (bank.stacks[width], slots)
        keys = bank.layout.planes[width]
        modules = torch.tensor([module for module, _ in keys], device=bank.device)
        signed = torch.tensor([side == "A" for _, side in keys], device=bank.device).view(-1, 1, 1)
        scaled = weights * bank.scaling[modules][:, slots]
        if merge == "cat":
            coefficients = torch.where(signed, scaled, 1.0)
        else:
            coefficients = torch.where(signed, merging.roots(scaled, signed=True), merging.roots(scaled, signed=False))
        wide = stack.shape[1] if merge in _DENSE else rows * k
        step = max(1, self._chunk_bytes // (4 * wide * rank * width))
        for first in range(0, len(keys), step):
            planes = slice(first, first + step)
            flat = stack[planes].flatten(2)
            if merge == "cat":
                block = merging.concatenated(flat, slots_here, coefficients[planes])
                yield planes, block.view(block.shape[0], rows, k * rank, width)
                continue
            if merge in _DENSE:
                block = merging.linear(flat, slots_here, coefficients[planes])
            else:
                block = merging.ties(flat, slots_here, coefficients[planes], frequency=merge == "ties_frequency")
            yield planes, block.view(block.shape[0], rows, rank, width)

    def _narrowed(self, stack: Tensor, slots: Tensor) -> tuple[Tensor, Tensor]:
        """The slots in use alone, where the bank holds many more than this batch names."""
        used, inverse = slots.unique(return_inverse=True)
        top = int(used[-1]) + 1
        if top <= 2 * len(used):
            return stack[:, :top], slots
        return stack[:, used], inverse

    def _norms(self, recipes: Sequence[Recipe], held: Mapping[int, Tensor]) -> list[float]:
        if all(recipe.merge == "cat" for recipe in recipes):
            return [0.0] * len(recipes)
        layout, rank = self._bank.layout, self._bank.layout.rank
        grams = {
            width: torch.matmul(factors[:, :, :rank].float(), factors[:, :, :rank].float().transpose(2, 3))
            for width, factors in held.items()
        }
        sides = [
            torch.stack([grams[width][plane] for width, plane in (layout.places[m, side] for m in range(len(layout.modules)))])
            for side in ("A", "B")
        ]
        norms: list[float] = update_norms(torch.stack(sides)).tolist()
        return norms

    def _calibrate(
        self,
        recipes: Sequence[Recipe],
        weights: Sequence[Sequence[float]],
        component_norms: Sequence[Sequence[float]],
        norms: list[float],
        held: Mapping[int, Tensor],
    ) -> list[float]:
        """Rescales the B of calibrated rows in place; returns the norms after that."""
        if not any(recipe.calibrated for recipe in recipes):
            return norms
        factors = [
            merging.calibration(norms[row], component_norms[row], weights[row]) if recipe.calibrated else 1.0
            for row, recipe in enumerate(recipes)
        ]
        scale = torch.tensor(factors, dtype=self._bank.dtype, device=self._bank.device).view(-1, 1, 1)
        for width, keys in self._bank.layout.planes.items():
            for plane, (_, side) in enumerate(keys):
                if side == "B":
                    held[width][plane] *= scale
        return [norm * factor for norm, factor in zip(norms, factors, strict=True)]


_DENSE = frozenset({"linear", "magnitude_prune"})
