"""The document `loradex.record_answer` stores: everything about an answer that routing does not say."""

from collections.abc import Mapping
from typing import Any

from worker.engine.recipe import Recipe
from worker.engine.rows import Row, RowResult
from worker.jobs import Job, Routing
from worker.station import Station


def answer_document(
    *,
    station: Station,
    job: Job,
    routing: Routing,
    recipe: Recipe,
    row: Row,
    result: RowResult,
    timings: Mapping[str, float],
) -> dict[str, Any]:
    """The answer of one job, with its merge and its timings in milliseconds."""
    merge = result.merge
    return {
        "text": result.text.replace("\0", "\ufffd"),  # Postgres stores no NUL; the token ids stay exact
        "choice": result.choice,
        "scores": list(result.scores) if result.scores is not None else None,
        "token_ids": list(result.token_ids),
        "prompt_tokens": result.prompt_tokens,
        "output_tokens": result.output_tokens,
        "base_model_revision": station.base_model_revision,
        "generation": {
            "kind": job.kind,
            "choices": job.choices,
            "normalization": job.normalization,
            "max_new_tokens": job.max_new_tokens,
            "sampling_temperature": job.sampling_temperature,
            "sampling_top_p": job.sampling_top_p,
            "seed": row.seed,
            "frame": station.frame,
            "device": station.device,
            "dtype": station.dtype,
        },
        "timings": {**timings, **result.timings},
        "versions": dict(station.versions),
        "worker": station.worker,
        "merge": {
            "recipe_hash": recipe.hash,
            "method": job.method,
            "density": recipe.density,
            "dtype": recipe.dtype,
            "update_norm": merge.update_norm,
            "sign_conflict": merge.sign_conflict,
            "milliseconds": merge.milliseconds,
            "components": [
                {"adapter_id": part["adapter_id"], "update_norm": norm}
                for part, norm in zip(routing.mixture, merge.component_norms, strict=True)
            ],
        },
    }
