"""When an answer is right, and how sure a score is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.errors import JobFailedError
from evaluation.questions import Question
from evaluation.scoring import interval, is_right
from library.judging import exact_match, normalise
from worker.engine.rows import MergeReport, RowFailure, RowResult


def question(**changes: object) -> Question:
    fields = {
        "task": "colours",
        "source_ref": "colours-test-1",
        "prompt": "red?",
        "choices": ("no", "yes"),
        "normalization": "tokens",
        "label": 1,
        "answers": ("yes",),
    }
    return Question(**(fields | changes))  # type: ignore[arg-type]


def answer(text: str = "yes", scores: tuple[float, ...] | None = (-2.0, -1.0)) -> RowResult:
    return RowResult(text, (3,), text, scores, 4, 1, MergeReport(0.0, 0.0, 0.0, ()))


def test_the_best_score_decides_and_the_first_of_equals_is_best() -> None:
    assert is_right(question(), answer())
    assert not is_right(question(label=0), answer())
    assert not is_right(question(), answer(scores=(-1.0, -1.0)))


def test_an_open_answer_is_compared_after_normalising_its_first_line() -> None:
    open_question = question(choices=(), answers=("The Blue Whale", "whales"))
    assert is_right(open_question, answer("blue whale.\nIt swims", None))
    assert not is_right(open_question, answer("a whale", None))
    assert not is_right(open_question, answer("", None))


def test_a_row_without_an_answer_stops_the_evaluation() -> None:
    with pytest.raises(JobFailedError, match="colours-test-1: too long"):
        is_right(question(), RowFailure("prompt_too_long", "too long"))


@given(st.lists(st.booleans(), min_size=1, max_size=200))
def test_the_interval_holds_the_score_and_stays_inside_its_bounds(right: list[bool]) -> None:
    low, high = interval(right)
    score = sum(right) / len(right)
    assert 0.0 <= low <= score + 1e-9
    assert score - 1e-9 <= high <= 1.0
    assert (low, high) == interval(right)


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
