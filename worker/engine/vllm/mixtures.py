"""The mixtures of the rows in hand, each of which vLLM knows as one LoRA named by its recipe's hash."""

from collections import Counter, OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from loradex.errors import AdapterRefusedError, InvalidArgumentError
from loradex.worker.engine.bank import AdapterBank
from loradex.worker.engine.compose import Composer
from loradex.worker.engine.plain_lora import PlainLora, plain_lora, rank_of
from loradex.worker.engine.recipe import Recipe
from loradex.worker.engine.rows import MergeReport
from loradex.worker.engine.vllm.shelf import Shelf
from loradex.worker.isolation import Failure

REMEMBERED: Final = 4096
"""Recipes whose numbers are kept; vLLM has their LoRAs no longer than it has room."""


@dataclass(frozen=True)
class Mixed:
    """What a row needs to know of its mixture.

    Attributes:
        name: The recipe's hash.
        number: What vLLM knows its LoRA by; None where it has none.
        report: What it turned out to be.
    """

    name: str
    number: int | None
    report: MergeReport


class Mixtures:
    """Composes each distinct mixture once, for as long as a row in hand has it and there is room.

    Args:
        composer: Mixes adapters.
        bank: Where they are.
        modules: Modules that vLLM adds LoRAs to.
        most_rank: The greatest rank it was laid out for.
        room_bytes: Bytes of the host for mixtures that vLLM has not asked for yet. What is beyond is composed again.
        number_bare: Whether the bare model has a LoRA too, of nothing. vLLM 0.32 adds the last slot's LoRA to rows
            without one where it computes on a CPU and other rows have theirs.
        shelf: Where mixtures are written for vLLM to read; None: it asks `take`.
    """

    def __init__(
        self,
        composer: Composer,
        bank: AdapterBank,
        modules: Collection[str],
        most_rank: int,
        *,
        room_bytes: int,
        number_bare: bool,
        shelf: Shelf | None = None,
    ) -> None:
        self._composer = composer
        self._bank = bank
        self._modules = modules
        self._most_rank = most_rank
        self._room_bytes = room_bytes
        self.number_bare = number_bare
        self._shelf = shelf
        self._known: OrderedDict[str, Mixed] = OrderedDict()
        self._recipes: dict[str, Recipe] = {}
        self._uses: Counter[str] = Counter()
        self._composed: dict[str, PlainLora] = {}
        self._fallen: dict[str, Failure] = {}
        self._last = 0

    def hold(self, recipe: Recipe) -> Mixed:
        """The mixture of a row that comes in hand.

        Raises:
            InvalidArgumentError: Its rank is greater than vLLM was laid out for, or it is no plain LoRA.
            AdapterRefusedError: It changes a module that vLLM adds no LoRA to.
        """
        mixed = self._known.get(recipe.hash)
        if mixed is None:
            self._check(recipe)
            mixed = self._compose(recipe)
        self._known[recipe.hash] = mixed
        self._known.move_to_end(recipe.hash)
        self._recipes[recipe.hash] = recipe
        self._uses[recipe.hash] += 1
        self._forget()
        return mixed

    def let_go(self, mixed: Mixed) -> None:
        """A row of it is no longer in hand."""
        self._uses[mixed.name] -= 1
        if self._uses[mixed.name] <= 0:
            del self._uses[mixed.name], self._recipes[mixed.name]
            self._composed.pop(mixed.name, None)
            # Its rows may have been let go for another reason.
            self._fallen.pop(mixed.name, None)
            if self._shelf is not None:
                self._shelf.remove(mixed.name)

    def place(self, mixed: Mixed) -> str:
        """Where vLLM finds a mixture in hand: a directory; where it asks `take`, what makes it another than one before.

        vLLM's cache of keys and values goes by this too, so nothing that a fallen mixture left there is used again.
        """
        if self._shelf is None:
            return f"{mixed.name}/{mixed.number}"
        return str(self._shelf.place(mixed.name) or self._shelf.put(mixed.name, self._factors(mixed.name)))

    def take(self, name: str) -> Mapping[str, tuple[Tensor, Tensor]]:
        """The factors of a mixture in hand, for vLLM to keep: composed anew if it had them and let them go.

        One that cannot be composed any more is a LoRA of nothing, and among the fallen: vLLM asks within its step,
        and an error there would end that of all rows.
        """
        try:
            return self._factors(name)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the fault of this mixture alone
            nothing = self._nothing()
            self._fallen[name] = Failure.of(error)
            self._known.pop(name, None)
            return nothing

    def fallen(self) -> Mapping[str, Failure]:
        """The mixtures that could not be composed any more since it was asked last, whose rows are to end."""
        fallen, self._fallen = self._fallen, {}
        return fallen

    @property
    def distinct(self) -> int:
        """How many are in hand."""
        return len(self._uses)

    @property
    def kept_bytes(self) -> int:
        """What lies here until vLLM asks for it."""
        return sum(map(_bytes, self._composed.values()))

    def _factors(self, name: str) -> Mapping[str, tuple[Tensor, Tensor]]:
        composed = self._composed.pop(name, None)
        if composed is None:
            composed = plain_lora(self._composer, self._bank, self._recipes[name])
        return composed.factors or self._nothing()

    def _nothing(self) -> Mapping[str, tuple[Tensor, Tensor]]:
        """A LoRA that adds zero; one without any module is none to vLLM."""
        module = min(self._modules)
        d_out, d_in = self._bank.sizes[module]
        return {module: (torch.zeros(1, d_in), torch.zeros(d_out, 1))}

    def _forget(self) -> None:
        """Lets the numbers of old recipes go; one in hand keeps its own, or vLLM would know it by two."""
        for name in list(self._known)[: max(0, len(self._known) - REMEMBERED)]:
            if name not in self._uses:
                del self._known[name]

    def _check(self, recipe: Recipe) -> None:
        rank = rank_of(self._bank, recipe)
        if rank > self._most_rank:
            raise InvalidArgumentError(
                f"the mixture of {len(recipe.components)} has rank {rank}, and vLLM was laid out for "
                f"{self._most_rank}; set LORADEX_VLLM_MAX_LORA_RANK to as much, or mix fewer adapters"
            )
        for part in recipe.components:
            unknown = sorted(set(self._bank.ranks(part.sha256)) - set(self._modules))
            if unknown:
                raise AdapterRefusedError(
                    f"adapter {part.sha256[:12]} changes {unknown[0]}, to which vLLM adds no LoRA; "
                    "LORADEX_ENGINE=torch does"
                )

    def _compose(self, recipe: Recipe) -> Mixed:
        composed = plain_lora(self._composer, self._bank, recipe)
        if not composed.factors and not self.number_bare:
            return Mixed(recipe.hash, None, composed.report)
        if self.kept_bytes + _bytes(composed) <= self._room_bytes:
            self._composed[recipe.hash] = composed
        # Never used for another recipe: vLLM keeps what it has by this number.
        self._last += 1
        return Mixed(recipe.hash, self._last, composed.report)


def _bytes(composed: PlainLora) -> int:
    return sum(a.nbytes + b.nbytes for a, b in composed.factors.values())
