"""The base model's own modules, for the kinds of adapters that change its weights and not only add to them."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from loradex.errors import AdapterRefusedError
from loradex.worker.engine.updates import RowLinear


def is_norm(module: nn.Module) -> bool:
    """Whether it scales what it is given number by number, and adds a bias."""
    weight, bias = getattr(module, "weight", None), getattr(module, "bias", None)
    return isinstance(weight, Tensor) and isinstance(bias, Tensor) and weight.dim() == 1 == bias.dim()


class BaseModules:
    """The modules of a wrapped model that an adapter may change, by name."""

    def __init__(self, model: Any) -> None:
        self._modules = {module.name: module for module in model.modules() if isinstance(module, RowLinear)}
        self._tied: tuple[str, str] | None = None
        if getattr(model.config.get_text_config(), "tie_word_embeddings", False):
            words, head = model.get_input_embeddings(), model.get_output_embeddings()
            if isinstance(words, RowLinear) and isinstance(head, RowLinear):
                self._tied = words.name, head.name

    def __contains__(self, name: str) -> bool:
        return name in self._modules

    @property
    def norms(self) -> Mapping[str, int]:
        """The sizes of what norms with a bias say, by name."""
        return {
            name: len(module.base.bias)  # type: ignore[arg-type]
            for name, module in self._modules.items()
            if is_norm(module.base)
        }

    def is_embedding(self, name: str) -> bool:
        """Whether it is given words and not vectors."""
        return isinstance(self._modules[name].base, nn.Embedding)

    def is_turned(self, name: str) -> bool:
        """Whether it keeps its weight as `[d_in, d_out]`."""
        return isinstance(self._modules[name].base, Conv1D)

    def tied_to(self, name: str) -> str | None:
        """The head that shares its weight with this embedding, if one does."""
        return self._tied[1] if self._tied is not None and self._tied[0] == name else None

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
