"""What rows are answered, from what was computed for them."""

import math
from collections.abc import Callable
from typing import Final

from loradex.errors import ConstraintRefusedError
from loradex.worker.engine.choose import Scored, normalised
from loradex.worker.engine.questions import Question
from loradex.worker.engine.rows import MergeReport, RowResult
from loradex.worker.engine.writing import Writing
from loradex.worker.isolation import Failure

NOT_FINITE: Final = Failure(
    "not_finite",
    "the mixture made the model's logits NaN or infinite; lower its weights or retire the adapter at fault",
)


def chosen(
    question: Question, scored: Scored, report: MergeReport, timings: dict[str, float]
) -> RowResult | Failure:
    """The answer of a row whose choices were ranked."""
    row = question.row
    if not all(map(math.isfinite, scored.likelihoods)):
        return NOT_FINITE
    scores = tuple(
        normalised(likelihood, choice, len(tokens), row.normalization)
        for likelihood, choice, tokens in zip(scored.likelihoods, row.choices, question.choices, strict=True)
    )
    judged = tuple(
        score - math.log(share)
        for score, share in zip(scores, row.prior or (1.0,) * len(scores), strict=True)
    )
    best = max(range(len(scores)), key=judged.__getitem__)
    tokens = question.choices[best]
    return RowResult(
        text=row.choices[best],
        token_ids=tokens,
        choice=row.choices[best],
        scores=scores,
        prompt_tokens=len(question.ids),
        output_tokens=len(tokens),
        finish_reason="choice",
        merge=report,
        timings={**timings, **scored.timings},
    )


def written(writing: Writing, spell: Callable[[int], str]) -> RowResult | Failure:
    """The answer of a row that wrote; `spell` gives the text of one token by itself."""
    if not writing.finite:
        return NOT_FINITE
    if writing.problem is not None:
        return Failure(
            ConstraintRefusedError.code, f"the constraint lets the text not go on: {writing.problem}"
        )
    told = tuple(writing.logprobs) if writing.question.row.logprobs is not None else None
    named = {token for one in told or () for token in (one.token, *dict(one.likeliest))}
    return RowResult(
        text=writing.text.text,
        token_ids=tuple(writing.tokens),
        choice=None,
        scores=None,
        prompt_tokens=len(writing.question.ids),
        output_tokens=len(writing.tokens),
        finish_reason="stop" if writing.ended else "length",
        merge=writing.report,
        timings=writing.timings(),
        logprobs=told,
        token_texts={token: spell(token) for token in named},
    )
