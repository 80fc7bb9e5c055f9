"""The modules of a model that a LoRA may change."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from loradex.worker.engine.layout import Shape


def linear_modules(model: nn.Module) -> dict[str, Shape]:
    """The sizes of every `nn.Linear`, and of every `Conv1D` with its transposed weight, by name."""
    shapes: dict[str, Shape] = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            shapes[name] = Shape(module.in_features, module.out_features)
        elif isinstance(module, Conv1D):
            shapes[name] = Shape(*module.weight.shape)
    return shapes


def embedding(model: Any) -> dict[str, Shape]:
    """The size of the embedding that reads the words, by name; what it is given are the words."""
    found = model.get_input_embeddings()
    if not isinstance(found, nn.Embedding):
        return {}
    name = next(name for name, module in model.named_modules() if module is found)
    return {name: Shape(found.num_embeddings, found.embedding_dim)}


def shapes_of(model: nn.Module, read: Callable[[], object] | None = None) -> dict[str, Shape]:
    """Every module a LoRA may change, by name.

    The model reads something (one token, if `read` does not do it), to see which modules are given the same
    tensor. One that answers with more than a tensor (a router of experts) is left out.
    """
    shapes = embedding(model) | linear_modules(model)
    given = _given(model, list(shapes), read or partial(_one_token, model))
    return {
        name: dataclasses.replace(shapes[name], reads=number) for name, number in _numbered(given).items()
    }


@torch.inference_mode()
def _given(model: nn.Module, names: list[str], read: Callable[[], object]) -> dict[str, Tensor | None]:
    """What each module is given when the model reads; None where it is not called."""
    given: dict[str, Tensor | None] = dict.fromkeys(names)

    def watch(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def seen(_: nn.Module, arguments: Any, answer: Any) -> None:
            if isinstance(answer, Tensor):
                given[name] = arguments[0] if arguments else None
            else:
                given.pop(name, None)

        return seen

    hooks = [model.get_submodule(name).register_forward_hook(watch(name)) for name in names]
    try:
        read()
    finally:
        for hook in hooks:
            hook.remove()
    return given


def device_of(model: nn.Module) -> torch.device:
    """Where it computes first. Layers that are brought in when they are needed lie nowhere until then."""
    return next(one.device for one in model.parameters() if one.device.type != "meta")


def _one_token(model: nn.Module) -> None:
    model(input_ids=torch.zeros(1, 1, dtype=torch.long, device=device_of(model)))


def _numbered(given: dict[str, Tensor | None]) -> dict[str, int | None]:
    """One number for each tensor; all of them are still held, so no two have one identity."""
    numbers: dict[int, int] = {}
    return {
        name: None if tensor is None else numbers.setdefault(id(tensor), len(numbers))
        for name, tensor in given.items()
    }
