"""When an answer is right, and how sure a score is."""

from collections.abc import Sequence

import numpy as np

from db.errors import JobFailedError
from evaluation.questions import Question
from library.judging import exact_match
from worker.engine.rows import RowFailure, RowResult

RESAMPLES = 2000
CONFIDENCE = 0.95


def is_right(question: Question, answer: RowResult | RowFailure) -> bool:
    """Whether the answer counts.

    With choices: the best-scored one is the right one, the first of equals counting as best. Without: exact
    match after normalising.

    Raises:
        JobFailedError: The engine could not answer; a score that leaves rows out would not be comparable.
    """
    if isinstance(answer, RowFailure):
        raise JobFailedError(answer.code, f"{question.task} {question.source_ref}: {answer.message}")
    if not question.choices:
        return exact_match(answer.text, question.answers)
    if answer.scores is None:
        raise JobFailedError("internal", f"{question.task} {question.source_ref}: no scores came back")
    return int(np.argmax(answer.scores)) == question.label


def interval(right: Sequence[bool], seed: int = 0) -> tuple[float, float]:
    """Bootstrap interval of the share of `right` (percentile method, Efron 1979), drawn by the seed."""
    draws = np.random.default_rng(seed).integers(0, len(right), size=(RESAMPLES, len(right)))
    shares = np.asarray(right, dtype=np.float64)[draws].mean(axis=1)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(shares, (tail, 1 - tail))
    return float(low), float(high)
