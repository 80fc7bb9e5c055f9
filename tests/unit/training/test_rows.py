"""Which rows a run sees, and as what."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fix_models import byte_tokenizer
from tests.fix_training import CARD, card_of, colours

from loradex.errors import TrainingDataError
from loradex.library.example_file import SUFFIXES
from loradex.library.examples import Example
from loradex.worker.engine.text import Text
from loradex.worker.engine.training.rows import read_task, split_held_out, tokenise, training_file

FRAME = "{prompt}\nAnswer:"
COLOURS = card_of(CARD)


def example(number: int) -> Example:
    return Example.model_validate(colours(number))


@given(st.integers(min_value=20, max_value=90), st.integers(min_value=0, max_value=2**31))
def test_a_tenth_is_held_out_and_nothing_is_lost_or_doubled(count: int, seed: int) -> None:
    rows = [example(number) for number in range(count)]
    training, held_out = split_held_out(rows, seed)
    assert len(held_out) == count // 10
    assert sorted(row.id for row in training + held_out) == sorted(row.id for row in rows)
    assert split_held_out(rows, seed) == (training, held_out)


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(TrainingDataError, match="at least 20"):
        split_held_out([example(number) for number in range(19)], 1)


def test_a_test_file_behind_a_training_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "colours.test.jsonl").write_text("{}")
    (tmp_path / "colours.train.jsonl").symlink_to(tmp_path / "colours.test.jsonl")
    with pytest.raises(TrainingDataError, match="a test file"):
        training_file(tmp_path, "colours")


def test_a_hard_link_to_a_test_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "colours.test.jsonl").write_text("{}")
    os.link(tmp_path / "colours.test.jsonl", tmp_path / "colours.train.jsonl")
    with pytest.raises(TrainingDataError, match="a test file"):
        training_file(tmp_path, "colours")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingDataError, match=r"colours\.train\.jsonl: no such file"):
        read_task(tmp_path, COLOURS, 1)


def test_the_answer_is_what_choose_ranks() -> None:
    tokenizer = byte_tokenizer()
    text = Text(tokenizer)
    row = tokenise(example(0), COLOURS, text, tokenizer.eos_token_id, FRAME)
    assert tokenizer.decode(row.branches.prompt) == "red 0?\nAnswer:"
    assert [tokenizer.decode(answer) for answer in row.branches.answers] == [" no", " yes"]
    assert row.label == 1
    assert row.shares == (1 / 3, 1 / 4)
    assert row.ending.answers == ((*text.answer("yes"), tokenizer.eos_token_id),)


def test_a_long_field_is_cut_in_its_middle_and_its_hash_is_of_the_whole() -> None:
    tokenizer = byte_tokenizer()
    long = Example.model_validate(colours(0) | {"fields": {"thing": "begin " + "x" * 500 + " end"}})
    row = tokenise(long, COLOURS, Text(tokenizer), tokenizer.eos_token_id, FRAME)
    shown = tokenizer.decode(row.branches.prompt)
    assert len(shown) <= 64 + len("\nAnswer:")
    assert shown.startswith("begin xx")
    assert shown.endswith("x end?\nAnswer:")
    short = tokenise(example(0), COLOURS, Text(tokenizer), tokenizer.eos_token_id, FRAME)
    assert row.sha256 != short.sha256


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_test_file_is_one_in_every_form_of_examples(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"colours.test{suffix}").touch()
    (tmp_path / f"colours.train{suffix}").symlink_to(tmp_path / f"colours.test{suffix}")
    with pytest.raises(TrainingDataError, match="a test file"):
        training_file(tmp_path, "colours")
