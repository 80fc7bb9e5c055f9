"""The merges of PEFT 0.21, for many rows at once, and their calibration.

Notation: a *stack* is `[planes, slots, entries]`, the same plane of every adapter in the bank flattened to
entries; `slots` is `[rows, k]`, the adapters each row mixes (slot 0 is all zeros and pads shorter mixtures);
`coefficients` is `[planes, rows, k]`, float32. A merge writes `out`, `[planes, rows, entries]`, contiguous
and float32. Each row is computed from its own adapters alone, entry by entry, so no row can move another's
bits.

For component i of a row let c_i = w_i * scaling_i. PEFT (`LoraModel.add_weighted_adapter`) merges A and B
apart, A with sign(c_i) sqrt|c_i| and B with sqrt|c_i|. `cat` is the plain sum of c_i B_i A_i and merges
nothing (see `shared`).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from loradex.worker.engine.combine import combine

PICKING = frozenset({"ties", "ties_frequency"})
"""The merges that copy each row's adapters first; they are best computed a few planes at a time."""


def trim(tensor: Tensor, density: float) -> Tensor:
    """Zeros all but the `int(density * n)` entries of largest magnitude (PEFT `magnitude_based_pruning`).

    It must see the factor as PEFT does: B as `[d_out, r]`, not padded, or equal magnitudes resolve
    differently.
    """
    if density >= 1:
        return tensor
    kept = torch.topk(tensor.abs().reshape(-1), k=int(density * tensor.numel()), largest=True).indices
    mask = torch.zeros_like(tensor).reshape(-1)
    mask[kept] = 1
    return tensor * mask.reshape(tensor.shape)


def roots(coefficients: Tensor, *, signed: bool) -> Tensor:
    """sqrt|c|, with the sign of c where `signed`: PEFT puts it on A alone, or two negatives would cancel."""
    root = coefficients.abs().sqrt()
    return torch.where(coefficients >= 0, root, -root) if signed else root


def linear(stack: Tensor, slots: Tensor, coefficients: Tensor, out: Tensor) -> None:
    """Sum of c_i T_i (PEFT `task_arithmetic`; `magnitude_prune` is the same over trimmed adapters)."""
    combine(stack, slots, coefficients, out)


def ties(stack: Tensor, slots: Tensor, coefficients: Tensor, out: Tensor, *, frequency: bool) -> None:
    """TIES over trimmed adapters: elect a sign, then the disjoint mean (PEFT `ties`; arXiv 2306.01708).

    The elected sign is that of sum T_i (total) or of sum sign(T_i) (`frequency`), + on zero, both without
    weights; the result is sum over agreeing i of c_i T_i / number of agreeing i. With m the elected sign, T_i
    agrees where m T_i > 0, so sum c_i relu(m T_i) / count(m T_i > 0) * m is the same and needs no mask.
    """
    planes, rows, k = coefficients.shape
    picked = stack.index_select(1, slots.flatten()).to(torch.float32).view(planes * rows, k, -1)
    ones = torch.ones(planes * rows, 1, k, device=out.device)
    total = torch.bmm(ones, picked.sign() if frequency else picked)
    # A sum of entries that cancel is +0; it is -0 only if all are zero, and then the sign does not matter.
    elected = torch.copysign(ones[:1, :, :1], total)
    agreeing = picked.mul_(elected).relu_()
    flat = out.view(planes * rows, 1, -1)
    torch.bmm(coefficients.reshape(planes * rows, 1, k), agreeing, out=flat)
    count = torch.bmm(ones, agreeing.sign_()).clamp_(min=1)
    flat.div_(count).mul_(elected)


def calibration(norm: float, component_norms: Sequence[float], weights: Sequence[float]) -> float:
    """What gives a merged update the norm its weights promise: sum |w_i| |dW_i|_F / |merged|_F.

    A mixture whose weights sum to 1, of updates of equal norm, then has that norm, whether they agree or not.
    PEFT's `linear` misses it upwards for agreeing adapters ((sum sqrt w_i)^2, 2.9 for three), its `ties`
    downwards (about 1/k). A merged norm of 0 is left alone. Source: own; the over-count it undoes is that of
    SVC (arXiv 2602.05536).
    """
    promised = sum(abs(weight) * own for weight, own in zip(weights, component_norms, strict=True))
    return promised / norm if norm > 0 else 1.0
