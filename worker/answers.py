"""The document `loradex.record_answer` takes: what neither the job nor its routing says about an answer."""

from collections.abc import Mapping
from typing import Any

from loradex.worker.engine.embed import EmbeddedQuestion
from loradex.worker.engine.framed import Framed
from loradex.worker.engine.recipe import Recipe
from loradex.worker.engine.rows import Row, RowResult
from loradex.worker.identity import WorkerIdentity

LOGPROB_DIGITS = 6
"""What is kept behind the point; rounding on another device moves more."""


def answer_document(
    *,
    identity: WorkerIdentity,
    question: EmbeddedQuestion,
    recipe: Recipe,
    row: Row,
    result: RowResult,
    timings: Mapping[str, float],
) -> dict[str, Any]:
    """The answer of one job, with its merge and its timings in milliseconds."""
    merge = result.merge
    return {
        "text": result.stored_text,
        "choice": result.choice,
        "scores": list(result.scores) if result.scores is not None else None,
        "token_ids": list(result.token_ids),
        "logprobs": _logprobs(result),
        "prompt_tokens": result.prompt_tokens,
        "output_tokens": result.output_tokens,
        "base_model_revision": identity.base_model_revision,
        # The job's own settings are added by record_answer.
        "generation": {
            "seed": row.seed,
            "frame": identity.frame,
            **(row.prompt_text.evidence if isinstance(row.prompt_text, Framed) else {}),
            "device": identity.device,
            "dtype": identity.dtype,
            "attention": identity.attention,
            "quantization": identity.quantization,
            "device_map": identity.device_map,
            "finish_reason": result.finish_reason,
            # Fewer are read where the encoder reads no more: docs/models.md.
            "question_tokens": question.tokens,
            "question_tokens_read": question.read,
        },
        "timings": {**timings, **result.timings},
        "versions": dict(identity.versions),
        "merge": {
            "recipe_hash": recipe.hash,
            "dtype": recipe.dtype,
            "update_norm": merge.update_norm,
            "sign_conflict": merge.sign_conflict,
            "milliseconds": merge.milliseconds,
            "component_norms": list(merge.component_norms),
        },
    }


def _logprobs(result: RowResult) -> list[dict[str, Any]] | None:
    """Of each token, and of the likeliest there, its id, its text by itself, and its log-probability, natural log."""
    if result.logprobs is None:
        return None

    def told(token: int, logprob: float) -> dict[str, Any]:
        text = result.token_texts[token].replace("\0", "\ufffd")
        return {"id": token, "token": text, "logprob": round(logprob, LOGPROB_DIGITS)}

    return [
        {**told(one.token, one.logprob), "top": [told(*other) for other in one.likeliest]}
        for one in result.logprobs
    ]
