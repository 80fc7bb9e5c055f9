"""The mixtures of a batch as the bank knows them: slots and weights, and groups of rows that merge alike."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from loradex.worker.engine import merging
from loradex.worker.engine.bank import EMPTY_SLOT

SHARED = "cat"
"""The merge that is the sum of its adapters' updates, so rows can share adapters and merge nothing."""


@dataclass(frozen=True)
class Mixture:
    """One row's adapters by their slots in the bank; none is the bare model."""

    merge: str
    slots: Sequence[int] = ()
    weights: Sequence[float] = ()

    @property
    def uses_shared_factors(self) -> bool:
        return bool(self.slots) and self.merge == SHARED

    @property
    def needs_merge(self) -> bool:
        return bool(self.slots) and self.merge != SHARED


BARE = Mixture(SHARED)


@dataclass(frozen=True)
class Group:
    """Rows of a batch that one merge computes; shorter mixtures are padded with the empty slot."""

    merge: str
    rows: Tensor  # [rows], their places in the batch
    slots: Tensor  # [rows, k]
    weights: Tensor  # [rows, k], float32

    @classmethod
    def of(cls, merge: str, mixtures: dict[int, Mixture], device: torch.device) -> "Group":
        """The group of these mixtures, by their places in the batch."""
        k = max(len(mixture.slots) for mixture in mixtures.values())
        slots = [[*mixture.slots, *[EMPTY_SLOT] * (k - len(mixture.slots))] for mixture in mixtures.values()]
        weights = [[*mixture.weights, *[0.0] * (k - len(mixture.weights))] for mixture in mixtures.values()]
        return cls(
            merge,
            torch.tensor(list(mixtures), device=device),
            torch.tensor(slots, device=device),
            torch.tensor(weights, device=device),
        )

    def coefficients(self, scaling: Tensor, planes: Sequence[tuple[int, str]]) -> Tensor:
        """What each plane of each component is multiplied by, `[planes, rows, k]`; see `merging`.

        `scaling` is `[modules, slots]`, `planes` their modules' indices and sides.
        """
        modules = torch.tensor([module for module, _ in planes], device=scaling.device)
        on_a = torch.tensor([side == "A" for _, side in planes], device=scaling.device).view(-1, 1, 1)
        scaled = self.weights * scaling[modules][:, self.slots]
        return torch.where(on_a, merging.roots(scaled, signed=True), merging.roots(scaled, signed=False))


def merging_groups(mixtures: Sequence[Mixture], device: torch.device) -> list[Group]:
    """The groups that cover a batch; rows that merge nothing are mixtures of the empty slot in the first."""
    groups: dict[str, dict[int, Mixture]] = {}
    for row, mixture in enumerate(mixtures):
        if mixture.needs_merge:
            groups.setdefault(mixture.merge, {})[row] = mixture
    if groups:
        others = {row: BARE for row, mixture in enumerate(mixtures) if not mixture.needs_merge}
        next(iter(groups.values())).update(others)
    return [Group.of(merge, dict(sorted(rows.items())), device) for merge, rows in groups.items()]
