"""When an answer is right, and how sure a score is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from loradex.evaluation.questions import Question
from loradex.library.judging import exact_match
from loradex.library.marks import mark

RESAMPLES = 2000
CONFIDENCE = 0.95
LEAST_HISTORY = 16
"""Rows from which a prior is taken off, as of answers in `history_of_choices.sql`."""

Marks = npt.NDArray[np.float64]
"""From 0, wrong, to 1, right; between them only where the metric knows more than two."""


@dataclass(frozen=True)
class Outcome:
    """What a method said to one question.

    Attributes:
        scores: Normalised log-likelihood of each choice, natural log; None for an open question.
        text: What was written; None where only choices were ranked.
    """

    scores: tuple[float, ...] | None
    text: str | None


def right(questions: Sequence[Question], outcomes: Sequence[Outcome]) -> Marks:
    """How good each answer is, `[questions]`.

    With choices: whether the best-scored one is the right one, the first of equals counting as best. Without:
    by the task's metric.
    """
    return np.array(
        [
            mark(question.metric, outcome.text or "", question.answers)
            if outcome.scores is None
            else int(np.argmax(outcome.scores)) == question.label
            for question, outcome in zip(questions, outcomes, strict=True)
        ],
        dtype=np.float64,
    )


def right_when_calibrated(questions: Sequence[Question], outcomes: Sequence[Outcome]) -> Marks:
    """As `right`, after `calibrated_scores`.

    Where choices differ from row to row there is nothing to share, so nothing changes. Nor does it on few rows, since
    jobs of so few have no prior either.
    """
    few = len(questions) < LEAST_HISTORY
    if few or len({question.choices for question in questions}) > 1 or outcomes[0].scores is None:
        return right(questions, outcomes)
    scores = calibrated_scores(np.array([outcome.scores for outcome in outcomes], dtype=np.float64))
    labels = np.array([question.label for question in questions])
    marks: Marks = (np.argmax(scores, axis=1) == labels).astype(np.float64)
    return marks


def calibrated_scores(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Each label's share of the whole batch taken off; `[rows, labels]`, natural log.

    Batch Calibration (Zhou et al. 2024, arXiv 2309.17249): log p(y|x) - log mean over x of p(y|x). It needs
    no label of any row.
    """
    logs = scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)
    prior = np.logaddexp.reduce(logs, axis=0) - np.log(len(logs))
    calibrated: npt.NDArray[np.float64] = logs - prior
    return calibrated


def right_when_written(questions: Sequence[Question], outcomes: Sequence[Outcome]) -> Marks:
    """Whether what was written is, after normalising, exactly the right choice or an accepted answer."""
    return np.array(
        [
            exact_match(
                outcome.text or "",
                [question.choices[question.label]] if question.choices else question.answers,
            )
            for question, outcome in zip(questions, outcomes, strict=True)
        ],
        dtype=np.float64,
    )


def interval(marks: Sequence[float] | Marks, seed: int = 0) -> tuple[float, float]:
    """Bootstrap interval of the mean of `marks` (percentile method, Efron 1979), drawn by the seed."""
    draws = np.random.default_rng(seed).integers(0, len(marks), size=(RESAMPLES, len(marks)))
    return bounds(np.asarray(marks, dtype=np.float64)[draws].mean(axis=1))


def bounds(resampled: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Where the middle 95 % of resampled figures lie."""
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(resampled, (tail, 1 - tail))
    return float(low), float(high)
