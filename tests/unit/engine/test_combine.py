"""Weighted sums out of a stack are right by either kernel, and one row never moves another's bits."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from loradex.worker.engine.combine import combine, is_sparse

PLANES, SLOTS, ENTRIES = 3, 7, 40


def summed(stack: torch.Tensor, slots: torch.Tensor, coefficients: torch.Tensor) -> torch.Tensor:
    out = torch.full((PLANES, len(slots), ENTRIES), float("nan"))
    with torch.inference_mode():
        combine(stack, slots, coefficients, out)
    return out


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@given(
    slots=st.integers(1, 4).flatmap(
        lambda k: st.lists(
            st.lists(st.integers(0, SLOTS - 1), min_size=k, max_size=k), min_size=1, max_size=9
        )
    ),
    seed=st.integers(0, 2**31),
)
def test_sums_are_exact_and_a_row_has_its_own_bits(
    dtype: torch.dtype, slots: list[list[int]], seed: int
) -> None:
    numbers = torch.Generator().manual_seed(seed)
    stack = torch.randn(PLANES, SLOTS, ENTRIES, generator=numbers).to(dtype)
    chosen = torch.tensor(slots)
    coefficients = torch.randn(PLANES, *chosen.shape, generator=numbers)
    together = summed(stack, chosen, coefficients)
    exact = torch.einsum("prk,prke->pre", coefficients.double(), stack.double()[:, chosen])
    assert (together - exact).abs().max() <= 1e-5
    for row in range(len(slots)):
        alone = summed(stack, chosen[row : row + 1], coefficients[:, row : row + 1])
        assert torch.equal(alone[:, 0], together[:, row])


def test_a_half_precision_stack_is_picked_not_read_in_place() -> None:
    out = torch.empty(1, 1, 2)
    assert not is_sparse(torch.zeros(1, 1, 2, dtype=torch.bfloat16), out)
