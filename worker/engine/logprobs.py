"""How likely the tokens were that were written, and which others were likeliest."""

from collections.abc import Sequence

import torch
from torch import Tensor

from loradex.worker.engine.rows import Logprobs


def logprobs_of(logits: Tensor, tokens: Sequence[int], wanted: Sequence[int]) -> list[Logprobs]:
    """Those of the tokens, one for each row of logits `[rows, vocabulary]`, with `wanted` likeliest beside each.

    They are the model's own: the log-softmax of its logits before any bias, penalty or temperature, as vLLM's
    `raw_logprobs`. A choice's score is made of the same numbers.
    """
    held = logits if logits.device.type != "mps" else logits.cpu()
    likelihoods = torch.log_softmax(held.to(torch.float64), dim=-1)
    written = likelihoods.gather(-1, torch.tensor(tokens, device=held.device)[:, None])
    values, ids = likelihoods.topk(min(max(wanted), held.shape[1]), dim=-1)
    told = torch.cat([written, values], dim=-1).tolist()
    return [
        Logprobs(
            token,
            own,
            tuple(
                (one, value) for one, value in zip(row[:count], others, strict=False) if value > -torch.inf
            ),
        )
        for token, (own, *others), row, count in zip(tokens, told, ids.tolist(), wanted, strict=True)
    ]
