"""How well an adapter answers a task, on rows that no adapter was trained on."""

from collections.abc import Sequence
from dataclasses import replace
from math import exp, fsum
from statistics import fmean

from loradex.errors import JobFailedError
from loradex.evaluation.questions import Question
from loradex.library.affinities import Affinity
from loradex.worker.engine.engine import Engine
from loradex.worker.engine.recipe import Component, Recipe
from loradex.worker.engine.rows import Row
from loradex.worker.isolation import Failure

DIGITS = 4


def measure_affinity(engine: Engine, questions: Sequence[Question], frame: str, sha256: str) -> Affinity:
    """The mean over the questions of how well the adapter alone answers them, from 0 to 1.

    A question with choices counts half for being answered right and half by the probability of the right
    choice: over few rows the second says more, the first is what is wanted. An open question, of which a
    small model gets hardly one right, counts by the geometric mean probability of its answer's tokens.

    Args:
        engine: Its bank has the adapter.
        questions: Of one task, at least one.
        frame: Around every prompt, with `{prompt}`.
        sha256: Content hash of the adapter.

    Raises:
        JobFailedError: The engine could not answer one.
    """
    recipe = Recipe("cat", 1.0, engine.dtype, (Component(sha256, 1.0),))
    answers = engine.answer([_row(question, frame, recipe) for question in questions])
    values = []
    for question, answer in zip(questions, answers, strict=True):
        if isinstance(answer, Failure):
            raise JobFailedError(answer.code, f"{question.task}: {answer.message}")
        values.append(answer_quality(answer.scores or (), question))
    return Affinity(score=round(fmean(values), DIGITS), n=len(values))


def answer_quality(scores: Sequence[float], question: Question) -> float:
    """How well one question was answered, from 0 to 1; `scores` are log-likelihoods, natural log."""
    if not question.choices:
        return min(1.0, exp(scores[0]))
    best = max(scores)
    likely = exp(scores[question.label] - best) / fsum(exp(score - best) for score in scores)
    return (likely + (scores.index(best) == question.label)) / 2


def _row(question: Question, frame: str, recipe: Recipe) -> Row:
    """An open question ranks its answer alone, which gives the answer's likelihood."""
    alone = replace(question, choices=question.answers[:1], normalization="tokens")
    return (question if question.choices else alone).row(frame, recipe)
