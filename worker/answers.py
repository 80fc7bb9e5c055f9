"""The document `loradex.record_answer` takes: what neither the job nor its routing says about an answer."""

from collections.abc import Mapping
from typing import Any

from loradex.worker.engine.embed import EmbeddedQuestion
from loradex.worker.engine.framed import Framed
from loradex.worker.engine.recipe import Recipe
from loradex.worker.engine.rows import Row, RowResult
from loradex.worker.identity import WorkerIdentity


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
