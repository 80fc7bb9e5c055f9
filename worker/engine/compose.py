"""From the recipes of a batch to the factors of its rows."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from db.errors import InvalidArgumentError
from worker.engine import merging
from worker.engine.bank import ZERO, AdapterBank, Key
from worker.engine.combine import is_sparse
from worker.engine.pairs import PairTable, mixture_norm, sign_conflict, update_norms
from worker.engine.recipe import Recipe
from worker.engine.rows import MergeReport
from worker.engine.threads import one_thread
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
                    f"{recipe.method} needs one rank, and {module} has {ranks[module]} and {rank}; use cat"
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
        self._spaces: dict[int, Tensor] = {}

    def compose(self, recipes: Sequence[Recipe]) -> tuple[RowFactors | None, list[MergeReport]]:
        """The factors of these rows (None if all are the bare model), and what each mixture turned out to be.

        The factors lie in memory that the next call writes over.

        Raises:
            InvalidArgumentError: The bank cannot hold the batch's adapters at once.
        """
        start = time.perf_counter()
        keys = [keys_of(recipe) for recipe in recipes]
        entries = self._bank.acquire(key for row in keys for key in row)
        if not entries:
            return None, [MergeReport(0.0, 0.0, 0.0, ()) for _ in recipes]
        weights = [[part.weight for part in recipe.components] for recipe in recipes]
        held = self._merge(
            [recipe.merge for recipe in recipes], [[entries[key] for key in row] for row in keys], weights
        )
        pairs = self._pairs.of(keys, entries)
        component_norms = [
            tuple(self._bank.norm(part.sha256) for part in recipe.components) for recipe in recipes
        ]
        merged_norms = self._norms(recipes, held)
        norms = [
            mixture_norm(weights[row], pairs[row]) if recipe.merge == "cat" else merged_norms[row]
            for row, recipe in enumerate(recipes)
        ]
        norms = self._calibrate(recipes, weights, component_norms, norms, held)
        milliseconds = 1000 * (time.perf_counter() - start) / len(recipes)
        return RowFactors(self._bank.layout, held), [
            MergeReport(
                norms[row], sign_conflict(weights[row], pairs[row]), milliseconds, component_norms[row]
            )
            for row in range(len(recipes))
        ]

    def _merge(
        self, merges: Sequence[str], slots: Sequence[Sequence[int]], weights: Sequence[Sequence[float]]
    ) -> dict[int, Tensor]:
        """The rows' factors by width, `[planes, rows, rank, width]`; bare rows and spare rank are zero."""
        bank = self._bank
        groups: dict[str, list[int]] = {}
        for row, merge in enumerate(merges):
            if slots[row]:
                groups.setdefault(merge, []).append(row)
        # A bare row is a mixture of the empty slot alone, in whichever merge.
        next(iter(groups.values())).extend(row for row, named in enumerate(slots) if not named)
        widest = max(len(slots[row]) for row in groups["cat"]) if "cat" in groups else 1
        held = {
            width: self._space(width, (len(planes), len(merges), bank.layout.rank * widest, width))
            for width, planes in bank.layout.planes.items()
        }
        if len(groups) > 1:
            for out in held.values():
                out.zero_()
        for merge, rows in groups.items():
            group = _Group.of(merge, sorted(rows), slots, weights, bank.device)
            for width, out in held.items():
                self._fill(group, width, out)
        return held

    def _space(self, width: int, shape: tuple[int, ...]) -> Tensor:
        """Uncleared memory, the same for every batch: fresh pages would cost more than the merge."""
        space = self._spaces.get(width)
        if space is None or space.numel() < math.prod(shape):
            self._spaces.pop(width, None)
            space = self._spaces[width] = torch.empty(
                math.prod(shape), dtype=self._bank.dtype, device=self._bank.device
            )
        return space[: math.prod(shape)].view(shape)

    def _fill(self, group: "_Group", width: int, out: Tensor) -> None:
        """Writes a group's factors into `out` `[planes, all rows, rank, width]`, a few planes at a time."""
        bank = self._bank
        keys, stack = bank.layout.planes[width], bank.stacks[width]
        coefficients = group.coefficients(bank.scaling, keys)
        rank = bank.layout.rank * (group.slots.shape[1] if group.merge == "cat" else 1)
        direct = out.dtype == torch.float32 and len(group.rows) == out.shape[1] and rank == out.shape[2]
        in_place = direct and group.merge not in merging.PICKING and is_sparse(stack, out)
        picked_bytes = 4 * group.slots.numel() * bank.layout.rank * width
        step = len(keys) if in_place else max(1, self._chunk_bytes // picked_bytes)
        with nullcontext() if in_place else one_thread():
            for first in range(0, len(keys), step):
                planes = slice(first, first + step)
                flat = stack[planes].flatten(2)
                shape = (flat.shape[0], len(group.rows), rank * width)
                merged = out[planes].view(shape) if direct else torch.empty(shape, device=bank.device)
                _MERGES[group.merge](flat, group.slots, coefficients[planes], merged)
                if not direct:
                    out[planes, group.rows, :rank] = merged.view(*shape[:2], rank, width).to(out.dtype)

    def _norms(self, recipes: Sequence[Recipe], held: Mapping[int, Tensor]) -> list[float]:
        if all(recipe.merge == "cat" for recipe in recipes):
            return [0.0] * len(recipes)
        layout, rank = self._bank.layout, self._bank.layout.rank
        grams = {
            width: torch.matmul(factors[:, :, :rank].float(), factors[:, :, :rank].float().transpose(2, 3))
            for width, factors in held.items()
        }
        sides = [
            torch.stack(
                [
                    grams[width][plane]
                    for width, plane in (layout.places[m, side] for m in range(len(layout.modules)))
                ]
            )
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


@dataclass(frozen=True)
class _Group:
    """The rows of a batch that one merge computes; shorter mixtures are padded with the empty slot."""

    merge: str
    rows: Tensor  # [rows], their places in the batch
    slots: Tensor  # [rows, k]
    weights: Tensor  # [rows, k], float32

    @classmethod
    def of(
        cls,
        merge: str,
        rows: Sequence[int],
        slots: Sequence[Sequence[int]],
        weights: Sequence[Sequence[float]],
        device: torch.device,
    ) -> "_Group":
        k = max(len(slots[row]) for row in rows)
        padded_slots = [[*slots[row], *[ZERO] * (k - len(slots[row]))] for row in rows]
        padded_weights = [[*weights[row], *[0.0] * (k - len(weights[row]))] for row in rows]
        return cls(
            merge,
            torch.tensor(rows, device=device),
            torch.tensor(padded_slots, device=device),
            torch.tensor(padded_weights, device=device),
        )

    def coefficients(self, scaling: Tensor, planes: Sequence[tuple[int, str]]) -> Tensor:
        """What each plane of each component is multiplied by, `[planes, rows, k]`; see `merging`."""
        modules = torch.tensor([module for module, _ in planes], device=scaling.device)
        on_a = torch.tensor([side == "A" for _, side in planes], device=scaling.device).view(-1, 1, 1)
        scaled = self.weights * scaling[modules][:, self.slots]
        if self.merge == "cat":
            return torch.where(on_a, scaled, torch.ones_like(scaled))
        return torch.where(on_a, merging.roots(scaled, signed=True), merging.roots(scaled, signed=False))


_MERGES: Mapping[str, Callable[[Tensor, Tensor, Tensor, Tensor], None]] = {
    "linear": merging.linear,
    "magnitude_prune": merging.linear,
    "cat": merging.concatenated,
    "ties": partial(merging.ties, frequency=False),
    "ties_frequency": partial(merging.ties, frequency=True),
}
