"""A mixture as one LoRA of its own, for an engine that knows adapters but no mixtures."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from loradex.errors import InvalidArgumentError
from loradex.worker.engine.bank import AdapterBank, Key
from loradex.worker.engine.compose import Composer
from loradex.worker.engine.recipe import Recipe
from loradex.worker.engine.rows import MergeReport
from loradex.worker.engine.shared import SharedFactors
from loradex.worker.engine.updates import RowFactors, Updates


@dataclass(frozen=True)
class PlainLora:
    """One mixture as an adapter: its update of a module is `B A`, weights, scalings and calibration included.

    Attributes:
        factors: For each module it changes, A `[rank, d_in]` and B `[d_out, rank]`, in memory of their own.
        report: What the mixture turned out to be.
    """

    factors: Mapping[str, tuple[Tensor, Tensor]]
    report: MergeReport

    @property
    def rank(self) -> int:
        """The largest of its modules' ranks; 0 for the bare model."""
        return max((a.shape[0] for a, _ in self.factors.values()), default=0)


def rank_of(bank: AdapterBank, recipe: Recipe) -> int:
    """The rank that the mixture will have: of `cat` the sum of its adapters' ranks, else their own.

    Raises:
        AdapterChangedError, AdapterRefusedError, UnknownNameError: An adapter cannot be read.
    """
    ranks = [bank.ranks(part.sha256) for part in recipe.components]
    modules = {module for one in ranks for module in one}
    together = sum if recipe.effective_merge == "cat" else max
    return max((together(one.get(module, 0) for one in ranks) for module in modules), default=0)


@torch.inference_mode()
def plain_lora(composer: Composer, bank: AdapterBank, recipe: Recipe) -> PlainLora:
    """Composes a mixture, and copies its factors out.

    Raises:
        InvalidArgumentError: The bank cannot hold its adapters at once, or they are of a kind that is more than a
            product of two factors.
    """
    composition = composer.compose([recipe])
    try:
        return PlainLora(dict(_factors(bank, composition.updates, recipe)), composition.reports[0])
    finally:
        composer.give_back(composition)


def _factors(
    bank: AdapterBank, updates: Updates | None, recipe: Recipe
) -> Iterator[tuple[str, tuple[Tensor, Tensor]]]:
    match updates:
        case None:
            return
        case RowFactors():
            yield from _merged(bank, updates, recipe)
        case SharedFactors(invoked_by=invoked_by) if not invoked_by:
            yield from _side_by_side(bank, updates)
        case _:
            raise InvalidArgumentError(
                "this mixture is more than a product of two factors; LORADEX_ENGINE=torch answers with it"
            )


def _merged(
    bank: AdapterBank, updates: RowFactors, recipe: Recipe
) -> Iterator[tuple[str, tuple[Tensor, Tensor]]]:
    """The only row's own factors, without the zeros that pad them to the bank's rank."""
    for index, module in enumerate(updates.layout.modules):
        rank = max(bank.ranks(part.sha256).get(module, 0) for part in recipe.components)
        if rank:
            (wide_a, a), (wide_b, b) = (updates.layout.places[index, side] for side in ("A", "B"))
            own_a, own_b = updates.planes[wide_a][a, 0, :rank], updates.planes[wide_b][b, 0, :rank]
            yield module, (own_a.clone(), own_b.T.contiguous())


def _side_by_side(bank: AdapterBank, updates: SharedFactors) -> Iterator[tuple[str, tuple[Tensor, Tensor]]]:
    """The factors of the only row's adapters one below the other; what stands between A and B goes into B."""
    named: list[tuple[int, Mapping[str, int]]] = []
    for place in updates.places[0].tolist():
        key = updates.names[place]
        named.append((place, bank.ranks(key.sha256) if isinstance(key, Key) else {}))
    for index, module in enumerate(updates.layout.modules):
        (wide_a, a), (wide_b, b) = (updates.layout.places[index, side] for side in ("A", "B"))
        parts = [
            (
                updates.planes[wide_a][a, place, : ranks[module]],
                updates.planes[wide_b][b, place, : ranks[module]].float() * coefficient,
            )
            for (place, ranks), coefficient in zip(named, updates.coefficients[index, 0], strict=True)
            if module in ranks
        ]
        if parts:
            below = torch.cat([one for one, _ in parts])
            yield module, (below, torch.cat([one for _, one in parts]).T.to(below.dtype).contiguous())
