"""The exact sum of several PEFT adapters of any kind, for a whole model: each module adds what each adapter adds."""

import copy
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from tests.fix_models import TinyAdapter
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D


class PeftMixed:
    """A copy of a model to which `weights[i]` times the change of `adapters[i]` is added, module by module.

    `offsets[i]` is how many tokens at the end that adapter counts for; without it, it counts for all.
    """

    def __init__(self, model: Any, adapters: Sequence[TinyAdapter], weights: Sequence[float]) -> None:
        self.model = copy.deepcopy(model)
        self.weights = list(weights)
        self.offsets: list[int | None] = [None] * len(adapters)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PEFT warns of tied words that are changed apart.
            self.tuned = [
                PeftModel.from_pretrained(copy.deepcopy(model), one.directory).eval().base_model.model
                for one in adapters
            ]
        for name, module in self.leaves().items():
            module.register_forward_hook(partial(self._add, name))

    def leaves(self) -> Mapping[str, nn.Module]:
        kinds = (nn.Linear, nn.Embedding, nn.LayerNorm, Conv1D)
        return {name: one for name, one in self.model.named_modules() if isinstance(one, kinds)}

    def _add(self, name: str, _: nn.Module, given: Any, out: Tensor) -> Tensor:
        changes = (
            self._changed(tuned.get_submodule(name), given, offset) - out
            for tuned, offset in zip(self.tuned, self.offsets, strict=True)
        )
        return out + sum(weight * change for weight, change in zip(self.weights, changes, strict=True))

    @staticmethod
    def _changed(module: nn.Module, given: Any, offset: int | None) -> Tensor:
        """What a module of an adapter says."""
        told = {"alora_offsets": [offset]} if offset is not None and isinstance(module, LoraLayer) else {}
        changed: Tensor = module(*given, **told)
        return changed

    @torch.inference_mode()
    def norms(self) -> tuple[list[float], float]:
        """The norm of each adapter's change of all linear weights, and that of their sum; biases do not count."""
        own, total = [0.0] * len(self.tuned), 0.0
        for name, module in self.leaves().items():
            match module:
                case nn.Linear():
                    unit = torch.eye(module.in_features)
                case Conv1D():
                    unit = torch.eye(module.weight.shape[0])
                case nn.Embedding():
                    unit = torch.arange(module.num_embeddings)
                case _:
                    continue
            none = unit[:1] * 0
            deltas = []
            for tuned in self.tuned:
                # Past the hooks, which add everything already.
                changed, plain = tuned.get_submodule(name), module.forward
                delta = changed(unit) - plain(unit)
                deltas.append(
                    delta if isinstance(module, nn.Embedding) else delta - changed(none) + plain(none)
                )
            own = [norm + float(delta.norm() ** 2) for norm, delta in zip(own, deltas, strict=True)]
            total += float(
                sum(weight * delta for weight, delta in zip(self.weights, deltas, strict=True)).norm() ** 2
            )
        return [norm**0.5 for norm in own], total**0.5
