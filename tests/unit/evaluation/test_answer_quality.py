"""How well one question was answered, as a figure from 0 to 1."""

from math import exp, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loradex.evaluation.answer_quality import answer_quality
from loradex.evaluation.questions import Question

LIKELIHOODS = st.lists(st.floats(-50, 0), min_size=2, max_size=5)


def question(choices: int, label: int) -> Question:
    return Question(
        task="colours",
        source_ref="colours-train-1",
        prompt="red?",
        choices=tuple(f"choice {number}" for number in range(choices)),
        normalization="tokens",
        label=label,
        answers=("yes",),
        metric="accuracy",
        max_new_tokens=16,
    )


@given(scores=LIKELIHOODS, data=st.data())
def test_half_for_being_right_and_half_for_how_sure(scores: list[float], data: st.DataObject) -> None:
    label = data.draw(st.integers(0, len(scores) - 1))
    found = answer_quality(scores, question(len(scores), label))
    likely = exp(scores[label]) / sum(exp(score) for score in scores)
    assert found == pytest.approx((likely + (scores.index(max(scores)) == label)) / 2)
    assert 0 <= found <= 1


@given(scores=LIKELIHOODS)
def test_the_choices_of_a_question_share_one(scores: list[float]) -> None:
    """The probabilities sum to one, and exactly one choice is the best."""
    shares = [answer_quality(scores, question(len(scores), label)) for label in range(len(scores))]
    assert sum(shares) == pytest.approx(1)


def test_an_open_question_counts_by_its_answers_likelihood() -> None:
    assert answer_quality([log(0.25)], question(0, 0)) == pytest.approx(0.25)
    assert answer_quality([1e-12], question(0, 0)) == 1
