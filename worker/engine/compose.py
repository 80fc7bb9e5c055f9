"""From the recipes of a batch to the updates of its rows."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from loradex.errors import InvalidArgumentError
from loradex.worker.engine import merging
from loradex.worker.engine.bank import AdapterBank, Key
from loradex.worker.engine.combine import is_sparse
from loradex.worker.engine.mixtures import BARE, SHARED, Group, Mixture, merging_groups
from loradex.worker.engine.pairs import PairTable, mixture_norm, sign_conflict, update_norms
from loradex.worker.engine.recipe import Recipe
from loradex.worker.engine.row_vectors import RowVectors
from loradex.worker.engine.rows import MergeReport
from loradex.worker.engine.shared import SharedFactors
from loradex.worker.engine.spaces import Spaces, shaped
from loradex.worker.engine.threads import one_thread
from loradex.worker.engine.updates import RowFactors, Updates, UpdateSum


def keys_of(recipe: Recipe) -> tuple[Key, ...]:
    """The entries of the bank a recipe needs."""
    return tuple(Key(part.sha256, recipe.trim) for part in recipe.components)


def check(bank: AdapterBank, recipe: Recipe) -> None:
    """Refuses a mixture PEFT refuses too.

    Raises:
        InvalidArgumentError: Adapters of unequal rank in a merge that adds factors entry by entry, or of a kind that
            the merge is not defined for.
        AdapterChangedError, AdapterRefusedError, UnknownNameError: An adapter cannot be read.
    """
    ranks: dict[str, int] = {}
    for part in recipe.components:
        merges = bank.merges(part.sha256)
        if merges is not None and len(recipe.components) > 1 and recipe.merge not in merges:
            raise InvalidArgumentError(
                f"{recipe.merge} is not defined for the kind of adapter {part.sha256[:12]}; use {' or '.join(merges)}"
            )
        for module, rank in bank.ranks(part.sha256).items():
            if ranks.setdefault(module, rank) != rank and recipe.effective_merge != "cat":
                raise InvalidArgumentError(
                    f"{recipe.merge} needs one rank, and {module} has {ranks[module]} and {rank}; use cat"
                )


@dataclass
class Composition:
    """The updates of a batch's rows, and what each mixture turned out to be.

    Attributes:
        updates: None if all rows are the bare model.
        reports: One for each row.
        spaces: The memory the factors lie in, by width; see `Composer.give_back`.
    """

    updates: Updates | None
    reports: Sequence[MergeReport]
    spaces: list[tuple[int, Tensor]] = field(default_factory=list)


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
        self._spaces = Spaces(bank.device, bank.dtype)
        self._taken: list[tuple[int, Tensor]] = []

    def compose(self, recipes: Sequence[Recipe]) -> Composition:
        """The updates of these rows. Their memory is the caller's until it is given back.

        Raises:
            InvalidArgumentError: The bank cannot hold the batch's adapters at once.
        """
        self._taken = []
        try:
            updates, reports = self._composed(recipes)
        except BaseException:
            self.give_back(Composition(None, (), self._taken))
            raise
        return Composition(updates, reports, self._taken)

    def give_back(self, composition: Composition) -> None:
        """Nobody uses these updates any more: a later composition writes over them."""
        for width, space in composition.spaces:
            self._spaces.give_back(width, space)
        composition.spaces = []

    def _composed(self, recipes: Sequence[Recipe]) -> tuple[Updates | None, list[MergeReport]]:
        start = time.perf_counter()
        keys = [keys_of(recipe) for recipe in recipes]
        entries = self._bank.acquire(key for row in keys for key in row)
        if not entries:
            return None, [MergeReport(0.0, 0.0, 0.0, ()) for _ in recipes]
        gated = {key for key in entries if self._bank.vectors(key)}
        summed = gated | {key for key in entries if self._bank.invoked_by(key.sha256)}
        mixtures = [
            Mixture(
                # Such an adapter is mixed by the sum alone, and alone it is its own update.
                SHARED if summed.intersection(row) else recipe.effective_merge,
                [entries[key] for key in row],
                [part.weight for part in recipe.components],
            )
            for recipe, row in zip(recipes, keys, strict=True)
        ]
        pairs = self._pairs.of(keys, entries)
        component_norms = [
            tuple(
                max(pair[place].inner, 0.0) ** 0.5 if key in gated else self._bank.norm(key.sha256)
                for place, (key, pair) in enumerate(zip(row, of_row, strict=True))
            )
            for row, of_row in zip(keys, pairs, strict=True)
        ]
        held = self._merge(mixtures)
        merged_norms = self._norms(held) if held else []
        norms = [
            merged_norms[row] if mixture.needs_merge else mixture_norm(mixture.weights, pairs[row])
            for row, mixture in enumerate(mixtures)
        ]
        factors = [
            merging.calibration(norm, own, mixture.weights) if recipe.calibrated else 1.0
            for recipe, mixture, norm, own in zip(recipes, mixtures, norms, component_norms, strict=True)
        ]
        updates = self._updates(mixtures, held, factors, {slot: key for key, slot in entries.items()})
        if gated:
            parts = updates.parts if isinstance(updates, UpdateSum) else [updates]
            vectors = self._vectors(mixtures, factors, {entries[key]: key for key in gated})
            updates = UpdateSum([vectors, *parts])
        milliseconds = 1000 * (time.perf_counter() - start) / len(recipes)
        return updates, [
            MergeReport(
                norms[row] * factors[row],
                sign_conflict(mixture.weights, pairs[row]),
                milliseconds,
                component_norms[row],
            )
            for row, mixture in enumerate(mixtures)
        ]

    def _updates(
        self,
        mixtures: Sequence[Mixture],
        held: dict[int, Tensor],
        factors: Sequence[float],
        keys: Mapping[int, Key],
    ) -> Updates:
        parts: list[Updates] = []
        if held:
            self._calibrate(held, factors)
            parts.append(RowFactors(self._bank.layout, held))
        if any(mixture.uses_shared_factors for mixture in mixtures):
            parts.append(self._share(mixtures, factors, keys))
        return parts[0] if len(parts) == 1 else UpdateSum(parts)

    def _vectors(
        self, mixtures: Sequence[Mixture], factors: Sequence[float], keys: Mapping[int, Key]
    ) -> RowVectors:
        """The gates and biases of the rows' adapters; `keys` are those that have any, by their slots."""
        coefficients = torch.zeros(len(mixtures), len(keys), device=self._bank.device)
        places = {slot: place for place, slot in enumerate(keys)}
        for row, (mixture, factor) in enumerate(zip(mixtures, factors, strict=True)):
            for slot, weight in zip(mixture.slots, mixture.weights, strict=True):
                if slot in places:
                    coefficients[row, places[slot]] += weight * factor
        if self._bank.base is None:
            raise RuntimeError("adapters were read with the base model's modules")
        return RowVectors.mixed(
            [self._bank.vectors(key) for key in keys.values()], coefficients, self._bank.base
        )

    def _share(
        self, mixtures: Sequence[Mixture], factors: Sequence[float], keys: Mapping[int, Key]
    ) -> SharedFactors:
        """The adapters of the rows that share them, once each; any other row names the empty slot alone."""
        bank = self._bank
        rows = {row: one if one.uses_shared_factors else BARE for row, one in enumerate(mixtures)}
        group = Group.of(SHARED, rows, bank.device)
        slots = sorted({slot for one in rows.values() for slot in one.slots})
        named = torch.tensor(slots, device=bank.device)
        planes = {
            width: torch.index_select(
                stack, 1, named, out=self._space(width, (len(stack), len(named), *stack.shape[2:]))
            )
            for width, stack in bank.stacks.items()
        }
        scaled = group.weights * torch.tensor(factors, device=bank.device).view(-1, 1)
        coefficients = scaled * bank.scaling[:, group.slots]
        # The empty slot is below all named ones, so it comes out as the first of them, with coefficient 0.
        places = torch.searchsorted(named, group.slots)
        names = [keys[slot] for slot in slots]
        invoked_by: dict[object, tuple[int, ...]] = {
            name: tokens for name in names if (tokens := bank.invoked_by(name.sha256))
        }
        return SharedFactors(bank.layout, planes, names, places, coefficients, invoked_by=invoked_by)

    def _merge(self, mixtures: Sequence[Mixture]) -> dict[int, Tensor]:
        """The merged factors by width, `[planes, rows, rank, width]`, zero for other rows; {} if none is."""
        bank = self._bank
        groups = merging_groups(mixtures, bank.device)
        held = {
            width: self._space(width, (len(planes), len(mixtures), bank.layout.rank, width))
            for width, planes in bank.layout.planes.items()
            if groups
        }
        for group in groups:
            for width, out in held.items():
                self._fill(group, width, out)
        return held

    def _space(self, width: int, shape: tuple[int, ...]) -> Tensor:
        space = self._spaces.take(width, shape)
        self._taken.append((width, space))
        return shaped(space, shape)

    def _fill(self, group: Group, width: int, out: Tensor) -> None:
        """Writes a group's factors into `out` `[planes, all rows, rank, width]`, a few planes at a time."""
        bank = self._bank
        keys, stack = bank.layout.planes[width], bank.stacks[width]
        coefficients = group.coefficients(bank.scaling, keys)
        direct = out.dtype == torch.float32 and len(group.rows) == out.shape[1]
        in_place = direct and group.merge not in merging.PICKING and is_sparse(stack, out)
        picked_bytes = 4 * group.slots.numel() * bank.layout.rank * width
        step = len(keys) if in_place else max(1, self._chunk_bytes // picked_bytes)
        with nullcontext() if in_place else one_thread():
            for first in range(0, len(keys), step):
                planes = slice(first, first + step)
                flat = stack[planes].flatten(2)
                shape = (flat.shape[0], len(group.rows), flat.shape[2])
                merged = out[planes].view(shape) if direct else torch.empty(shape, device=bank.device)
                _MERGES[group.merge](flat, group.slots, coefficients[planes], merged)
                if not direct:
                    out[planes, group.rows] = merged.view(*shape[:2], *stack.shape[2:]).to(out.dtype)

    def _norms(self, held: Mapping[int, Tensor]) -> list[float]:
        layout = self._bank.layout
        grams = {
            width: torch.matmul(factors.float(), factors.float().transpose(2, 3))
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

    def _calibrate(self, held: Mapping[int, Tensor], factors: Sequence[float]) -> None:
        """Multiplies the B of each row by its factor, in place."""
        if all(factor == 1 for factor in factors):
            return
        scale = torch.tensor(factors, dtype=self._bank.dtype, device=self._bank.device).view(-1, 1, 1)
        for width, keys in self._bank.layout.planes.items():
            for plane, (_, side) in enumerate(keys):
                if side == "B":
                    held[width][plane] *= scale


_MERGES: Mapping[str, Callable[[Tensor, Tensor, Tensor, Tensor], None]] = {
    "linear": merging.linear,
    "magnitude_prune": merging.linear,
    "ties": partial(merging.ties, frequency=False),
    "ties_frequency": partial(merging.ties, frequency=True),
}
