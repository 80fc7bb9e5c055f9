"""What transformers makes of a row's wishes: whole greedy texts by `generate`, and logits by its processors."""

from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    MinNewTokensLengthLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    SequenceBiasLogitsProcessor,
)

from loradex.worker.engine.rows import Row


class OpenAiPenalties(LogitsProcessor):  # type: ignore[misc]
    """mu[j] - c[j] * frequency - float(c[j] > 0) * presence, where c[j] counts what was written after the prompt."""

    def __init__(self, prompt: int, presence: float, frequency: float) -> None:
        self._prompt, self._presence, self._frequency = prompt, presence, frequency

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        counts = torch.nn.functional.one_hot(input_ids[:, self._prompt :], scores.shape[-1]).sum(1)
        return scores - counts * self._frequency - (counts > 0) * self._presence


def generated(model: Any, ids: Sequence[int], row: Row, ends: Collection[int]) -> list[int]:
    """The tokens of the likeliest text."""
    given: dict[str, Any] = {"sequence_bias": {(token,): add for token, add in row.logit_bias}}
    with torch.inference_mode():
        written = model.generate(
            torch.tensor([ids]),
            attention_mask=torch.ones((1, len(ids)), dtype=torch.long),
            max_new_tokens=row.max_new_tokens,
            min_new_tokens=row.min_tokens or None,
            do_sample=False,
            repetition_penalty=row.repetition_penalty,
            eos_token_id=sorted(ends),
            pad_token_id=0,
            logits_processor=LogitsProcessorList(
                [OpenAiPenalties(len(ids), row.presence_penalty, row.frequency_penalty)]
            ),
            **(given if row.logit_bias else {}),
        )
    return list(written[0, len(ids) :].tolist())


def processed(
    logits: Tensor, prompt: Sequence[int], written: Sequence[int], row: Row, ends: Collection[int]
) -> Tensor:
    """Logits `[vocabulary]` for what follows the written tokens, as `generate` would have processed them."""
    read = torch.tensor([[*prompt, *written]])
    processors: list[Any] = [
        RepetitionPenaltyLogitsProcessor(row.repetition_penalty),
        OpenAiPenalties(len(prompt), row.presence_penalty, row.frequency_penalty),
        MinNewTokensLengthLogitsProcessor(len(prompt), row.min_tokens, torch.tensor(sorted(ends))),
    ]
    if row.logit_bias:
        processors.insert(0, SequenceBiasLogitsProcessor({(token,): add for token, add in row.logit_bias}))
    scores: Tensor = logits[None].clone()
    for one in processors:
        scores = one(read, scores)
    return scores[0]
