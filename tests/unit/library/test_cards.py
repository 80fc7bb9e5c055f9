"""Task cards: what they accept, how they render, cut and word."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loradex.errors import TaskCardError
from loradex.library.cards import GAP, TaskCard, load_card, load_cards
from loradex.library.examples import Example

LABELS = {"kind": "labels", "normalization": "tokens", "words": {"good": "fine", "bad": "poor"}}


def card(**changes: Any) -> TaskCard:
    fields: dict[str, Any] = {
        "name": "meals",
        "family": "sentiment",
        "metric": "accuracy",
        "prompt": "Meal: {meal}\nWas it good?",
        "choices": LABELS,
    }
    return TaskCard.model_validate(fields | changes)


def example(**changes: Any) -> Example:
    fields: dict[str, Any] = {
        "id": "meals-train-1",
        "task": "meals",
        "family": "sentiment",
        "fields": {"meal": "Cold soup."},
        "choices": ["good", "bad"],
        "label": 1,
        "answers": ["bad"],
    }
    return Example.model_validate(fields | changes)


def words(text: str) -> int:
    return len(text.split())


def test_a_label_is_said_in_the_cards_words_in_the_examples_order() -> None:
    assert card().answer_choices(example()) == ["fine", "poor"]
    assert card().answer_choices(example(choices=["bad", "good"])) == ["poor", "fine"]
    assert card().target(example()) == "poor"


def test_options_are_the_examples_own() -> None:
    options = card(choices={"kind": "options"})
    assert options.answer_choices(example()) == ["good", "bad"]
    assert options.target(example(label=0, answers=["good"])) == "good"


def test_an_open_question_has_no_choices_and_its_first_answer_is_the_target() -> None:
    open_card = card(metric="exact_match", choices=None)
    asked = example(choices=None, label=None, answers=["Lisbon", "Lisboa"])
    assert open_card.answer_choices(asked) is None
    assert open_card.target(asked) == "Lisbon"


def test_braces_in_a_text_are_text() -> None:
    assert card().render({"meal": "{meal} {0} {{}}"}) == "Meal: {meal} {0} {{}}\nWas it good?"


def test_what_does_not_fit_is_refused_by_name() -> None:
    with pytest.raises(TaskCardError, match="no field 'meal'"):
        card().render({"dish": "soup"})
    with pytest.raises(TaskCardError, match="no word for the label 'cold'"):
        card().answer_choices(example(choices=["good", "cold"]))
    with pytest.raises(TaskCardError, match="meals-train-1 has no choices"):
        card().answer_choices(example(choices=None, label=None))


@given(
    st.lists(st.text(alphabet="abc de", min_size=1, max_size=8).filter(str.strip), min_size=1, max_size=300),
    st.integers(min_value=10, max_value=60),
)
def test_a_cut_prompt_is_within_its_limit_and_keeps_both_ends(parts: list[str], limit: int) -> None:
    text = " ".join(parts)
    subject = card()
    prompt = subject.render_within({"meal": text}, words, limit)
    assert words(prompt) <= limit
    whole = subject.render({"meal": text})
    if words(whole) <= limit:
        assert prompt == whole
    else:
        assert GAP.strip() in prompt
        assert prompt.startswith("Meal: ")
        assert prompt.endswith("\nWas it good?")


def test_the_longest_field_is_cut_and_the_short_one_stays() -> None:
    pair = card(prompt="Premise: {premise}\nHypothesis: {hypothesis}")
    fields = {"premise": "first " + "word " * 200 + "last", "hypothesis": "A short one."}
    prompt = pair.render_within(fields, words, 40)
    assert "Premise: first word" in prompt
    assert "word last\nHypothesis: A short one." in prompt
    assert prompt.count(GAP.strip()) == 1


def test_a_template_longer_than_the_limit_is_refused() -> None:
    with pytest.raises(TaskCardError, match="does not fit into 3 tokens"):
        card(prompt="one two three four {meal}").render_within({"meal": "soup and bread"}, words, 3)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"metric": "exact_match"}, "accuracy needs choices"),
        ({"choices": None}, "accuracy needs choices"),
        ({"prompt": "no field at all"}, "names no field"),
        ({"choices": LABELS | {"words": {}}}, "labels need words"),
        ({"choices": LABELS | {"words": {"good": "same", "bad": "same"}}}, "two labels share"),
        ({"name": "Not A Name"}, "String should match"),
        ({"surprise": 1}, "Extra inputs"),
    ],
)
def test_a_card_that_makes_no_sense_is_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        card(**changes)


def test_a_file_is_refused_with_its_path(tmp_path: Path) -> None:
    path = tmp_path / "meals.toml"
    with pytest.raises(TaskCardError, match=r"meals\.toml: No such file"):
        load_card(path)
    path.write_text("name = ")
    with pytest.raises(TaskCardError, match=r"meals\.toml: not TOML"):
        load_card(path)
    for broken in ('prompt = "a\\u0000b"', "seed = 1e999", "seed = " + "1" * 5000, "seed = " + "[" * 5000):
        path.write_text(broken)
        with pytest.raises(TaskCardError, match=r"meals\.toml: not TOML"):
            load_card(path)
    path.write_text('name = "meals"\nfamily = "sentiment"\nmetric = "taste"\nprompt = "{meal}"\n')
    with pytest.raises(TaskCardError, match=r"meals\.toml: metric"):
        load_card(path)
    path.write_text('name = "dishes"\nfamily = "x"\nmetric = "exact_match"\nprompt = "{meal}"\n')
    with pytest.raises(TaskCardError, match="name and file must agree"):
        load_card(path)
    path.unlink()
    with pytest.raises(TaskCardError, match="no task card"):
        load_cards(tmp_path)


def test_the_shipped_cards_are_the_22_of_the_paper_with_a_licence_each() -> None:
    cards = load_cards()
    assert len(cards) == 22
    assert {card.family for card in cards.values()} == {"commonsense", "closed_book_qa", "nli", "sentiment"}
    for shipped in cards.values():
        assert shipped.source is not None
        assert shipped.source.licence
        assert set(shipped.source.fields) == shipped.field_names
