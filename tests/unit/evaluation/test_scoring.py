"""When an answer is right, and how sure a score is."""

import re
from importlib.resources import files

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loradex.evaluation.cells import kept, marks_of
from loradex.evaluation.questions import Question
from loradex.evaluation.scoring import (
    LEAST_HISTORY,
    Outcome,
    calibrated_scores,
    interval,
    right,
    right_when_calibrated,
    right_when_written,
)
from loradex.library.judging import exact_match, normalise


def question(**changes: object) -> Question:
    fields = {
        "task": "colours",
        "source_ref": "colours-test-1",
        "prompt": "red?",
        "choices": ("no", "yes"),
        "normalization": "tokens",
        "label": 1,
        "answers": ("yes",),
        "metric": "exact_match",
        "max_new_tokens": 16,
    }
    return Question(**(fields | changes))  # type: ignore[arg-type]


def scored(*scores: float) -> Outcome:
    return Outcome(scores, None)


def test_the_best_score_decides_and_the_first_of_equals_is_best() -> None:
    questions = [question(), question(label=0), question()]
    outcomes = [scored(-2, -1), scored(-2, -1), scored(-1, -1)]
    assert right(questions, outcomes).tolist() == [True, False, False]


def test_an_open_answer_is_compared_after_normalising_its_first_line() -> None:
    open_question = question(choices=(), answers=("The Blue Whale", "whales"))
    texts = ("blue whale.\nIt swims", "a whale", "")
    outcomes = [Outcome(None, text) for text in texts]
    assert right([open_question] * 3, outcomes).tolist() == [True, False, False]


def test_what_is_written_counts_if_it_is_the_right_choice() -> None:
    outcomes = [Outcome(None, "Yes."), Outcome(None, "no"), Outcome(None, "")]
    assert right_when_written([question()] * 3, outcomes).tolist() == [True, False, False]


def leaning(count: int) -> tuple[list[Question], list[Outcome]]:
    """Of a model that always leans to the first label, right again once the lean is known."""
    labels = [place % 2 for place in range(count)]
    outcomes = [scored(*([0, -3] if label == 0 else [-1, -1.5])) for label in labels]
    return [question(label=label) for label in labels], outcomes


def test_calibration_takes_off_what_every_row_says() -> None:
    questions, outcomes = leaning(16)
    assert right(questions, outcomes).tolist() == [True, False] * 8
    assert right_when_calibrated(questions, outcomes).all()


def test_calibration_leaves_so_few_rows_alone_as_jobs_have_no_prior_of() -> None:
    questions, outcomes = leaning(LEAST_HISTORY - 1)
    assert right_when_calibrated(questions, outcomes).tolist() == right(questions, outcomes).tolist()
    text = (files("loradex.db") / "sql" / "functions" / "history_of_choices.sql").read_text()
    assert re.findall(r"having min\(m\.answers\) >= (\d+)", text) == [str(LEAST_HISTORY)]


def test_calibration_leaves_choices_alone_that_differ_from_row_to_row() -> None:
    questions, outcomes = leaning(16)
    questions[0] = question(choices=("red", "blue"), label=0)
    assert right_when_calibrated(questions, outcomes).tolist() == right(questions, outcomes).tolist()


@given(st.lists(st.tuples(st.floats(-20, 0), st.floats(-20, 0)), min_size=1, max_size=30), st.floats(-5, 5))
def test_calibration_does_not_see_a_constant_added_to_all_scores(
    pairs: list[tuple[float, float]], shift: float
) -> None:
    shares = calibrated_scores(np.array(pairs))
    assert np.allclose(shares, calibrated_scores(np.array(pairs) + shift), atol=1e-9)


@given(st.lists(st.booleans(), min_size=1, max_size=200))
def test_the_interval_holds_the_score_and_stays_inside_its_bounds(flags: list[bool]) -> None:
    low, high = interval(flags)
    score = sum(flags) / len(flags)
    assert 0.0 <= low <= score + 1e-9
    assert score - 1e-9 <= high <= 1.0
    assert (low, high) == interval(flags)


def test_more_rows_make_a_narrower_interval() -> None:
    few, many = interval([True, False] * 10), interval([True, False] * 200)
    assert many[1] - many[0] < few[1] - few[0]


@given(st.text(max_size=60))
def test_normalising_twice_changes_nothing_and_case_does_not_matter(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once
    assert once == once.strip()


@given(st.text(alphabet="bcdfg 0123", min_size=1).filter(str.strip))
def test_articles_punctuation_and_case_do_not_matter(text: str) -> None:
    assert exact_match(f"  The {text.upper()}!", [text])
    assert not exact_match("", [text])


def test_marks_between_right_and_wrong_are_kept_and_averaged() -> None:
    questions = [question(answers=("the boat sails slowly home",), metric="f1") for _ in range(2)]
    outcomes = [Outcome(None, "the boat sails"), Outcome(None, "boat sails slowly home")]
    marks = right(questions, outcomes)
    assert kept(marks) == [0.6667, 1.0]
    assert kept(np.array([1.0, 0.0])) == "10"
    assert marks_of(kept(marks)).mean() == pytest.approx(5 / 6, abs=1e-4)
    assert marks_of("10").tolist() == [1.0, 0.0]
