"""Inner products of updates that gate the base model's weights: those have no small form, so they are formed."""

from collections.abc import Sequence

import torch
from torch import Tensor

from loradex.errors import InvalidArgumentError
from loradex.worker.engine.bank import AdapterBank, Key


def beyond_factors(bank: AdapterBank, keys: Sequence[Key], slots: Sequence[int]) -> Tensor | None:
    """How far <dW_i, dW_j> `[k, k]` of some entries is beyond that of their factors; None if that is all of it.

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
        if not any((name, side) in one for one in vectors for side in ("gain", "given")):
            total += _with_wholes(bank, name, [one.get((name, "whole")) for one in vectors], slots)
            continue
        weight = bank.base.weight(name).to(bank.device)
        factors = torch.stack([_product(bank, name, slot) for slot in slots])
        whole = factors.clone()
        for place, one in enumerate(vectors):
            if (gain := one.get((name, "gain"))) is not None:
                whole[place] += gain.unsqueeze(1) * weight
            if (given := one.get((name, "given"))) is not None:
                whole[place] += weight * given
            if (moved := one.get((name, "whole"))) is not None:
                whole[place] += moved
        total += (_gram(whole) - _gram(factors)).cpu()
    return total


def _with_wholes(
    bank: AdapterBank, name: str, moved: Sequence[Tensor | None], slots: Sequence[int]
) -> Tensor:
    """The same of one module that some move as a whole: <D, B A> = sum(B * (D A^T)), so that no product is formed."""
    found = torch.zeros(len(slots), len(slots), dtype=torch.float64)
    for i, one in enumerate(moved):
        if one is None:
            continue
        for j, (other, slot) in enumerate(zip(moved, slots, strict=True)):
            scaling, a, b = _factors(bank, name, slot)
            inner = float(scaling * ((one @ a.T) * b.T).sum())
            found[i, j] += inner
            found[j, i] += inner
            if other is not None:
                found[i, j] += float((one * other).sum(dtype=torch.float64))
    return found


def _product(bank: AdapterBank, name: str, slot: int) -> Tensor:
    """Scaling * B A of one entry and module, `[d_out, d_in]`, float32."""
    scaling, a, b = _factors(bank, name, slot)
    return scaling * (b.T @ a)


def _factors(bank: AdapterBank, name: str, slot: int) -> tuple[Tensor, Tensor, Tensor]:
    """The scaling, A `[r, d_in]` and B `[r, d_out]` of one entry and module, float32."""
    index = bank.layout.modules.index(name)
    a, b = (
        bank.stacks[width][plane, slot].float()
        for width, plane in (bank.layout.places[index, side] for side in ("A", "B"))
    )
    return bank.scaling[index, slot], a, b


def _gram(updates: Tensor) -> Tensor:
    flat = updates.flatten(1)
    return (flat @ flat.T).double()
