"""Logits in float32, whatever the model computes in."""

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from loradex.worker.engine.float32 import Float32

HALVES = (torch.bfloat16, torch.float16)


def logits_in_float32(model: Any, float32: Float32) -> None:
    """Let the model's head compute in float32 from now on; its weights are copied, not changed.

    In bfloat16 logits near 20 are 0.125 apart: near choices would tie, and the first would win.
    """
    head: Any = model.get_output_embeddings()
    if head is None or head.weight.dtype not in HALVES:
        return
    weight: Tensor = head.weight.detach().float()
    bias = getattr(head, "bias", None)
    wide_bias: Tensor | None = None if bias is None else bias.detach().float()
    on_cpu = head.weight.device.type == "cpu"
    products = float32.as_bfloat16 if on_cpu and head.weight.dtype == torch.bfloat16 else nullcontext

    def forward(states: Tensor) -> Tensor:
        with products():
            return linear(states.float(), weight, wide_bias)

    head.forward = forward
