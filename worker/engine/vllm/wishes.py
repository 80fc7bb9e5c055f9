"""What a row asks for, as vLLM's `SamplingParams` say it."""

from typing import Any

from loradex.worker.engine.questions import Question


def written_as(question: Question, ends: frozenset[int]) -> dict[str, Any]:
    """The parameters of a text; vLLM applies them in the order that `edits.edited` and `draw.draw` do, but for min-p.

    That comes before top-p and not after it, so that top-p is of the mass that min-p left: where both are asked for,
    fewer tokens are drawn from.

    It knows nothing of texts: stop strings are looked for where tokens become text, and the request is aborted. The
    likelihood of what it wrote is always asked for, since it tells whether the logits were finite.
    """
    row = question.row
    return {
        "max_tokens": row.max_new_tokens,
        "min_tokens": min(row.min_tokens, row.max_new_tokens),
        "stop_token_ids": sorted(ends),
        "temperature": row.sampling_temperature,
        "top_k": row.sampling_top_k,
        "top_p": row.sampling_top_p,
        "min_p": row.sampling_min_p,
        # A seed of its own kind: -1 would mean none.
        "seed": row.seed & ((1 << 63) - 1),
        "repetition_penalty": row.repetition_penalty,
        "presence_penalty": row.presence_penalty,
        "frequency_penalty": row.frequency_penalty,
        "logit_bias": dict(row.logit_bias) or None,
        "logprobs": row.logprobs or 0,
        "detokenize": False,
        "output_kind": "DELTA",
    }


def read_as(*, from_cache: bool) -> dict[str, Any]:
    """The parameters of a prompt with a choice behind it, whose tokens' likelihoods are told.

    Args:
        from_cache: Whether the prompt's keys and values may be those of another request. Of tokens that come from
            there no likelihood is told.
    """
    return {
        "max_tokens": 1,
        "temperature": 0.0,
        "prompt_logprobs": 0,
        "skip_reading_prefix_cache": not from_cache,
        "detokenize": False,
        "output_kind": "FINAL_ONLY",
    }
