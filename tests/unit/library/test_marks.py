"""Marks of written answers: those of the libraries that define them, and 1 for the answer itself."""

import pytest

from loradex.library.cards import Metric
from loradex.library.marks import MARKS, mark

WRITTEN: tuple[Metric, ...] = ("exact_match", "f1", "rouge_l", "bleu")


@pytest.mark.parametrize("metric", WRITTEN)
def test_the_answer_itself_is_worth_one_and_another_nothing(metric: Metric) -> None:
    answer = "the boat sails slowly into the old harbour"
    assert mark(metric, answer, ["something else", answer]) == pytest.approx(1, abs=1e-6)
    assert mark(metric, "", [answer]) == 0
    assert mark(metric, "zzz", [answer]) == 0


def test_half_an_answer_is_worth_what_its_metric_says() -> None:
    # Words after normalising: "boat sails" of "boat sails slowly home"; precision 1, recall 1/2.
    assert mark("f1", "The boat sails!", ["the boat sails slowly home"]) == pytest.approx(2 / 3)
    # The longest common subsequence of words, articles included: 3 of 3 and 3 of 5.
    assert mark("rouge_l", "the boat sails", ["the boat sails slowly home"]) == pytest.approx(0.75)
    assert 0 < mark("bleu", "the boat sails slowly", ["the boat sails slowly home"]) < 1
    assert mark("exact_match", "the boat sails", ["the boat sails slowly home"]) == 0


@pytest.mark.parametrize("metric", ["exact_match", "f1"])
@pytest.mark.parametrize("answer", ["A", "The", "+", "?", "a an", "A."])
def test_an_answer_of_articles_or_signs_alone_is_right_as_well(metric: Metric, answer: str) -> None:
    assert mark(metric, answer, [answer]) == 1
    assert mark(metric, f" {answer.lower()}\n", [answer]) == 1
    assert mark(metric, "", [answer]) == 0
    assert mark(metric, "!", [answer]) == 0


def test_a_choice_of_one_letter_is_no_other_article_and_may_have_its_full_stop() -> None:
    assert mark("exact_match", "A.", ["A"]) == 1
    assert mark("exact_match", "the", ["A"]) == 0
    assert mark("exact_match", "B", ["A"]) == 0
    assert mark("exact_match", "the cat", ["A cat"]) == 1


def test_an_answer_of_several_lines_is_compared_with_as_many() -> None:
    answer = "first the salt\nthen the rice"
    assert mark("exact_match", answer, [answer]) == 1
    assert mark("exact_match", f"{answer}\nand so on", ["something else", answer]) == 1
    assert mark("exact_match", "first the salt", [answer]) == 0
    assert mark("exact_match", "yes\nthen the rice", ["yes"]) == 1


def test_every_metric_of_a_card_has_its_mark() -> None:
    assert set(MARKS) == {"accuracy", *WRITTEN}
