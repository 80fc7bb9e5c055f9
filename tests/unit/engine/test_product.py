"""The kernel behind a linear module changes its rounding and nothing else."""

import pytest
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from worker.engine.product import product_of


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 1, 48), (3, 7, 48), (5, 48)])
def test_products_are_those_of_the_module(bias: bool, shape: tuple[int, ...]) -> None:
    module = nn.Linear(48, 20, bias=bias)
    x = torch.randn(shape)
    with torch.inference_mode():
        exact = nn.functional.linear(
            x.double(), module.weight.double(), module.bias.double() if bias else None
        )
        product = product_of(module)(x)
    assert product.shape == exact.shape
    assert (product - exact).abs().max() <= 1e-5 * exact.abs().max()


def test_an_input_that_is_not_contiguous() -> None:
    module, x = nn.Linear(16, 4), torch.randn(3, 16, 5).transpose(1, 2)
    with torch.inference_mode():
        assert torch.allclose(product_of(module)(x), module(x), atol=1e-5)


@pytest.mark.parametrize("module", [nn.Linear(8, 8, dtype=torch.bfloat16), Conv1D(8, 8)])
def test_other_modules_keep_their_own(module: nn.Module) -> None:
    x = torch.randn(2, 3, 8, dtype=next(module.parameters()).dtype)
    with torch.inference_mode():
        assert torch.equal(product_of(module)(x), module(x))
