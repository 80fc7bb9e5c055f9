"""The base model's own modules, for the kinds of adapters that change its weights and not only add to them."""

from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from loradex.errors import AdapterRefusedError
from loradex.worker.engine.updates import RowLinear


class BaseModules:
    """The modules of a wrapped model that an adapter may change, by name."""

    def __init__(self, model: nn.Module) -> None:
        self._modules = {module.name: module for module in model.modules() if isinstance(module, RowLinear)}

    def __contains__(self, name: str) -> bool:
        return name in self._modules

    def weight(self, name: str) -> Tensor:
        """A copy of its weight, float32 on the host: `[d_out, d_in]`, or `[words, d_out]` of an embedding.

        Raises:
            AdapterRefusedError: It is quantised.
        """
        base: Any = self._modules[name].base
        weight: Tensor = base.weight.detach()
        # A quantised weight may be a tensor of its own kind, which says it were of floating point.
        if type(weight) is not Tensor or not weight.is_floating_point() or weight.dim() != 2:  # noqa: PLR2004
            raise AdapterRefusedError(
                f"the weight of {name} is quantised here, and an adapter of this kind needs it as it was trained; "
                "use a worker that loads the model without quantization"
            )
        plain = weight if weight.layout == torch.strided else weight.to_dense()
        turned = plain.T if isinstance(base, Conv1D) else plain
        return turned.to("cpu", torch.float32).clone()

    def bias(self, name: str) -> Tensor | None:
        """A copy of its bias, float32 on the host, if it has one."""
        bias: Tensor | None = getattr(self._modules[name].base, "bias", None)
        return None if bias is None else bias.detach().to("cpu", torch.float32).clone()

    def scale(self, name: str) -> float:
        """What an embedding multiplies its vectors by (Gemma's); 1 of any other module."""
        return float(getattr(self._modules[name].base, "embed_scale", 1.0))

    def product(self, name: str, x: Tensor) -> Tensor:
        """W x, without the bias."""
        module = self._modules[name]
        out = module.product(x)
        bias: Tensor | None = getattr(module.base, "bias", None)
        return out if bias is None else out - bias.to(out.dtype)
