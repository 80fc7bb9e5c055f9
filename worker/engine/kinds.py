"""What the tensors beside an adapter's factors make of a module; `EXTRAS` of the library has their names and shapes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from loradex.errors import AdapterRefusedError
from loradex.worker.engine.base_modules import BaseModules
from loradex.worker.engine.factor import Factor, beside
from loradex.worker.engine.row_vectors import Side

ROUNDING = 2**-7
"""How far a copy of the base model's weights may be from them, as a share of the largest: bfloat16 rounds by half."""


@dataclass
class Change:
    """One module's part of an adapter, while it is read.

    Attributes:
        module: Its name.
        base: The base model's modules.
        factor: Its low-rank part, if it has one.
        words: Words whose vectors were trained.
        vectors: Its vectors so far.
        tied: The low-rank part of the head that shares its weight, if words change that too.
    """

    module: str
    base: BaseModules
    factor: Factor | None
    words: tuple[int, ...] = ()
    vectors: dict[Side, Tensor] = field(default_factory=dict)
    tied: Factor | None = None

    def add(self, side: Side, vector: Tensor) -> None:
        self.vectors[side] = self.vectors[side] + vector if side in self.vectors else vector


def compare_copy(change: Change, stored: Tensor) -> None:
    """A copy of the base model's weights: nothing to add, but it must be one.

    Raises:
        AdapterRefusedError: It is of other weights.
    """
    weight = change.base.weight(change.module)
    if stored.shape != weight.shape or float((stored - weight).abs().max()) > ROUNDING * float(
        weight.abs().max()
    ):
        raise AdapterRefusedError(
            f"{change.module} was trained on other weights than this base model's; use the base model it was trained "
            "on, or save it with save_pretrained(..., save_embedding_layers=False) if they are the same"
        )


def whole(change: Change, weight: Tensor) -> None:
    """`modules_to_save`: the module's own weight, trained; what is added is how far it moved."""
    before = change.base.weight(change.module)
    if change.base.is_turned(change.module):
        weight = weight.T
    if weight.shape != before.shape:
        raise AdapterRefusedError(
            f"{change.module} is {list(before.shape)} here and {list(weight.shape)} in the adapter; register it for "
            "the model it was trained on, with as many words"
        )
    moved = weight - before
    if change.base.is_embedding(change.module):
        moved = change.base.scale(change.module) * moved.T
    change.add("whole", moved.contiguous())


def trained_words(change: Change, vectors: Tensor) -> None:
    """`trainable_token_indices`: new vectors of some words, which is a low-rank update with a one in each row.

    Of a head that shares the embedding's weight they count too.
    """
    weight = change.base.weight(change.module)
    words = torch.tensor(change.words)
    if vectors.shape != (len(words), weight.shape[1]) or int(words.max()) >= len(weight):
        raise AdapterRefusedError(
            f"{change.module} has {len(weight)} words of {weight.shape[1]} numbers, and the adapter changes word "
            f"{int(words.max())} by {list(vectors.shape)}; register it for the model it was trained on"
        )
    moved = vectors - weight[words]
    ones = torch.zeros(len(words), len(weight))
    ones[torch.arange(len(words)), words] = 1
    if not change.base.is_embedding(change.module):
        change.factor = beside(change.factor, Factor(moved, ones.T.contiguous(), 1.0))
        return
    scale = change.base.scale(change.module)
    change.factor = beside(change.factor, Factor(ones, moved.T.contiguous(), scale))
    if change.base.tied_to(change.module) is not None:
        change.tied = Factor(moved, ones.T.contiguous(), 1.0)


def dora(change: Change, magnitude: Tensor) -> None:
    """DoRA (arXiv 2402.09353): with g = magnitude / |W + s B A| by rows, g W x + g s B A x.

    That is a low-rank update whose B is g B, and a gate of g - 1 on W x; the bias is not gated. An embedding has one
    gate for each number of its vectors, and its weight moves by the gate; its scale comes after the norm, as in PEFT.
    """
    factor = change.factor
    if factor is None:
        raise AdapterRefusedError(f"{change.module} has a magnitude and no factors; save it again with PEFT")
    is_embedding, scale = change.base.is_embedding(change.module), change.base.scale(change.module)
    plain = change.base.weight(change.module)
    weight = plain.T.contiguous() if is_embedding else plain
    if weight.shape != (factor.b.shape[0], factor.a.shape[1]):
        raise AdapterRefusedError(
            f"{change.module} is {list(weight.shape)} here, and its factors are for "
            f"{[factor.b.shape[0], factor.a.shape[1]]}; register it for the model it was trained on"
        )
    gate = magnitude.flatten() / torch.addmm(weight, factor.b, factor.a, alpha=factor.scaling / scale).norm(
        dim=1
    )
    change.factor = Factor(factor.a, gate.unsqueeze(1) * factor.b, factor.scaling)
    if is_embedding:
        change.add("whole", scale * (gate - 1).unsqueeze(1) * weight)
        return
    change.add("gain", gate - 1)
    bias = change.base.bias(change.module)
    if bias is not None:
        change.add("shift", (1 - gate) * bias)


def update_bias(change: Change, bias: Tensor) -> None:
    """`lora_bias`: the bias of B, scaled as B A is."""
    if change.factor is None:
        raise AdapterRefusedError(
            f"{change.module} has a bias of its update and no factors; save it again with PEFT"
        )
    change.add("shift", change.factor.scaling * bias)


def trained_bias(change: Change, bias: Tensor) -> None:
    """`bias` of "all" or "lora_only": the module's own bias, trained; what is added is how far it moved."""
    before = change.base.bias(change.module)
    change.add("shift", bias if before is None else bias - before)


def gate(change: Change, gates: Tensor) -> None:
    """IA3: `[d_out, 1]` multiplies what the module says, its bias too; `[1, d_in]` what it is given."""
    d_out, d_in = change.base.weight(change.module).shape
    if gates.shape not in ((d_out, 1), (1, d_in)):
        raise AdapterRefusedError(
            f"{change.module} has {d_out} outputs and {d_in} inputs, gates are {list(gates.shape)}; "
            "register it for the model it was trained on"
        )
    change.add("gain" if gates.shape == (d_out, 1) else "given", gates.flatten() - 1)


APPLY: Mapping[str, Callable[[Change, Tensor], None]] = {
    "copy": compare_copy,
    "whole": whole,
    "words": trained_words,
    "magnitude": dora,
    "update bias": update_bias,
    "bias": trained_bias,
    "gate": gate,
}
"""By the names of `EXTRAS`."""
