"""One forward pass over rows of unequal length, for any Hugging Face causal language model."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from loradex.library.base_model_files import context_length
from loradex.worker.engine.cache import StoreView, padding_mask


class Forward:
    """Runs the model on padded rows.

    Args:
        model: A causal language model in eval mode.
        device: Where it lives.
    """

    def __init__(self, model: Any, device: torch.device) -> None:
        self._model = model
        self.device = device
        config = model.config.get_text_config()
        self.layers: int = config.num_hidden_layers
        self.context = context_length(config.to_dict(), config.model_type)
        """Tokens a row may have."""

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

    def tree(self, tokens: Tensor, mask: Tensor, positions: Tensor, view: StoreView) -> Tensor:
        """Logits `[rows, tokens, vocabulary]` of tokens seeing what `mask` `[rows, tokens, columns]` has."""
        return self._run(tokens, mask.unsqueeze(1), positions, view, 0)

    def _run(
        self, tokens: Tensor, mask: Tensor, positions: Tensor, view: StoreView | None, keep: int
    ) -> Tensor:
        logits: Tensor = self._model(
            input_ids=tokens,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=view,
            use_cache=view is not None,
            logits_to_keep=keep,
        ).logits
        return logits
