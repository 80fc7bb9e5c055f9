"""Inner products of updates that gate the base model's weights: those have no small form, so they are formed."""

from collections.abc import Sequence

import torch
from torch import Tensor

from loradex.errors import InvalidArgumentError
from loradex.worker.engine.bank import AdapterBank, Key


def beyond_factors(bank: AdapterBank, keys: Sequence[Key], slots: Sequence[int]) -> Tensor | None:
    """How far <dW_i, dW_j> `[k, k]` of some entries is beyond that of their factors; None if none of them gates.

    A gate changes a module's weight by gain * W by rows and W * given by columns. Biases are no weights.
    """
    vectors = [bank.vectors(key) for key in keys]
    gated = dict.fromkeys(name for one in vectors for name, side in one if side != "shift")
    if not gated:
        return None
    if bank.base is None:
        raise InvalidArgumentError("adapters that gate weights need the base model's modules")
    total = torch.zeros(len(keys), len(keys), dtype=torch.float64)
    for name in gated:
        weight = bank.base.weight(name).to(bank.device)
        factors = torch.stack([_product(bank, name, slot) for slot in slots])
        whole = factors.clone()
        for place, one in enumerate(vectors):
            if (gain := one.get((name, "gain"))) is not None:
                whole[place] += gain.unsqueeze(1) * weight
            if (given := one.get((name, "given"))) is not None:
                whole[place] += weight * given
        total += (_gram(whole) - _gram(factors)).cpu()
    return total


def _product(bank: AdapterBank, name: str, slot: int) -> Tensor:
    """Scaling * B A of one entry and module, `[d_out, d_in]`, float32."""
    index = bank.layout.modules.index(name)
    a, b = (
        bank.stacks[width][plane, slot].float()
        for width, plane in (bank.layout.places[index, side] for side in ("A", "B"))
    )
    return bank.scaling[index, slot] * (b.T @ a)


def _gram(updates: Tensor) -> Tensor:
    flat = updates.flatten(1)
    return (flat @ flat.T).double()
