"""The kernel behind a linear module changes its rounding and nothing else."""

import pytest
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from loradex.worker.engine.product import pack


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 1, 48), (3, 7, 48), (5, 48)])
def test_products_are_those_of_the_module(bias: bool, shape: tuple[int, ...]) -> None:
    module = nn.Linear(48, 20, bias=bias)
    x = torch.randn(shape)
    with torch.inference_mode():
        exact = nn.functional.linear(
            x.double(), module.weight.double(), module.bias.double() if bias else None
        )
        product = pack(module)(x)
    assert product.shape == exact.shape
    assert (product - exact).abs().max() <= 1e-5 * exact.abs().max()


def test_an_input_that_is_not_contiguous() -> None:
    module, x = nn.Linear(16, 4), torch.randn(3, 16, 5).transpose(1, 2)
    with torch.inference_mode():
        expected = module(x)
        assert torch.allclose(pack(module)(x), expected, atol=1e-5)


def test_a_packed_weight_keeps_its_numbers_and_leaves_a_tied_one_alone() -> None:
    module, embedding = nn.Linear(32, 48, bias=False), nn.Embedding(48, 32)
    embedding.weight = module.weight
    kept = module.weight.detach().clone()
    pack(module)
    assert (module.weight.shape, module.weight.dtype) == (kept.shape, kept.dtype)
    assert torch.equal(module.weight.to_dense(), kept)
    assert torch.equal(embedding.weight, kept)


class _Router(nn.Linear):
    """Does more than multiply."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x).softmax(-1)


@pytest.mark.parametrize("module", [nn.Linear(8, 8, dtype=torch.bfloat16), Conv1D(8, 8), _Router(8, 8)])
def test_other_modules_keep_their_own(module: nn.Module) -> None:
    x = torch.randn(2, 3, 8, dtype=next(module.parameters()).dtype)
    with torch.inference_mode():
        assert torch.equal(pack(module)(x), module(x))
