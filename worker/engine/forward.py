"""One forward pass over rows of unequal length, for any Hugging Face causal language model."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from loradex.worker.engine.architecture import Architecture
from loradex.worker.engine.cache import StoreView, padding_mask


class Forward:
    """Runs the model on padded rows.

    Args:
        model: A causal language model in eval mode.
        architecture: How it reads.
        device: Where it lives.
    """

    def __init__(self, model: Any, architecture: Architecture, device: torch.device) -> None:
        self._model = model
        self.device = device
        self.architecture = architecture

    def prompts(self, ids: Sequence[Sequence[int]], view: StoreView | None) -> Tensor:
        """Logits `[rows, vocabulary]` after each prompt; keys and values go to `view`, if any."""
        lengths = torch.tensor([len(row) for row in ids], device=self.device)
        columns = max(len(row) for row in ids)
        padded = torch.tensor([[0] * (columns - len(row)) + list(row) for row in ids], device=self.device)
        mask = padding_mask(lengths, columns)
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        return self._run(padded, mask, positions, view, 1)[:, -1]

    def step(self, tokens: Tensor, mask: Tensor, positions: Tensor, view: StoreView) -> Tensor:
        """Logits `[rows, vocabulary]` after one more token each; `mask` `[rows, columns]` has it too."""
        return self._run(tokens.unsqueeze(1), mask, positions.unsqueeze(1), view, 1)[:, -1]

    def piece(self, tokens: Sequence[int], before: int, view: StoreView) -> Tensor:
        """Logits `[1, vocabulary]` after more tokens of one row's prompt, of which `before` are read."""
        given = torch.tensor([list(tokens)], device=self.device)
        mask = torch.ones(1, before + len(tokens), dtype=torch.bool, device=self.device)
        positions = torch.arange(before, before + len(tokens), device=self.device).unsqueeze(0)
        return self._run(given, mask, positions, view, 1)[:, -1]

    def branches(
        self, tokens: Tensor, sees: Tensor, positions: Tensor, before: Tensor, view: StoreView
    ) -> Tensor:
        """Logits `[rows, tokens, vocabulary]` of tokens that see what `sees` `[rows, tokens, columns]` has.

        `before` are the positions of the columns there already, `[rows, columns - tokens]`.
        """
        keys = torch.cat([before, positions], dim=1)
        mask = self.architecture.masks(sees, positions, keys, self._model.dtype)
        return self._run(tokens, mask, positions, view, 0)

    def further(self, tokens: Tensor, mask: Tensor, positions: Tensor, view: StoreView) -> Tensor:
        """Logits `[rows, tokens, vocabulary]` of more tokens; `mask` `[rows, columns]` has them too."""
        return self._run(tokens, mask, positions, view, 0)

    def _run(self, tokens: Tensor, mask: Any, positions: Tensor, view: StoreView | None, keep: int) -> Tensor:
        told = {
            "input_ids": tokens,
            "attention_mask": mask,
            "position_ids": positions,
            "past_key_values": view,
            "use_cache": view is not None,
            "logits_to_keep": keep,
        }
        # ALiBi has no positions, and some heads compute all logits.
        taken = {name: value for name, value in told.items() if name in self.architecture.arguments}
        logits: Tensor = self._model(**taken).logits
        return logits
