"""The modules of a model that a LoRA may change."""

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from loradex.worker.engine.layout import Shape


def shapes_of(model: nn.Module) -> dict[str, Shape]:
    """Every module a LoRA may change, by name: `nn.Linear`, and `Conv1D` with its transposed weight.

    The model reads one token, to see which modules are given the same tensor.
    """
    shapes: dict[str, Shape] = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            shapes[name] = Shape(module.in_features, module.out_features)
        elif isinstance(module, Conv1D):
            shapes[name] = Shape(*module.weight.shape)
    return {
        name: dataclasses.replace(shapes[name], reads=number)
        for name, number in _numbered(_given(model, list(shapes))).items()
    }


@torch.inference_mode()
def _given(model: nn.Module, names: list[str]) -> dict[str, Tensor | None]:
    """What each module is given when the model reads a token; None where it is not called."""
    given: dict[str, Tensor | None] = dict.fromkeys(names)

    def watch(name: str) -> Callable[[nn.Module, Any], None]:
        return lambda _, arguments: given.update({name: arguments[0]})

    hooks = [model.get_submodule(name).register_forward_pre_hook(watch(name)) for name in names]
    try:
        model(input_ids=torch.zeros(1, 1, dtype=torch.long, device=next(model.parameters()).device))
    finally:
        for hook in hooks:
            hook.remove()
    return given


def _numbered(given: dict[str, Tensor | None]) -> dict[str, int | None]:
    """One number for each tensor; all of them are still held, so no two have one identity."""
    numbers: dict[int, int] = {}
    return {
        name: None if tensor is None else numbers.setdefault(id(tensor), len(numbers))
        for name, tensor in given.items()
    }
