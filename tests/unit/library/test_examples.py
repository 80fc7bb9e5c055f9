"""Example files: a good row survives as it is, a bad one is refused with its line."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loradex.errors import ExampleFileError
from loradex.library.examples import MAX_TEXT_CHARACTERS, load_examples, numbered_examples

ROW: dict[str, Any] = {
    "id": "meals-train-1",
    "task": "meals",
    "family": "sentiment",
    "fields": {"meal": "Cold soup."},
    "choices": ["good", "bad"],
    "label": 1,
    "answers": ["bad"],
}
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1).filter(
    str.strip
)


def write(path: Path, *lines: object) -> Path:
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


@given(
    st.dictionaries(texts, texts, min_size=1, max_size=3),
    st.lists(texts, min_size=2, max_size=4, unique=True),
)
def test_a_row_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, fields: dict[str, str], choices: list[str]
) -> None:
    path = tmp_path_factory.mktemp("rows") / "meals.jsonl"
    write(path, ROW | {"fields": fields, "choices": choices, "label": 0, "answers": [choices[0]]})
    (row,) = load_examples(path, {"meals"})
    assert row.fields == fields
    assert row.choices == choices


def test_blank_lines_are_skipped_and_lines_are_counted_with_them(tmp_path: Path) -> None:
    path = write(tmp_path / "meals.jsonl", ROW, "", "  ", ROW | {"id": "meals-train-2"})
    assert [(line, row.id) for line, row in numbered_examples(path)] == [
        (1, "meals-train-1"),
        (4, "meals-train-2"),
    ]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("{not json", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ([], "valid dictionary"),
        ({k: v for k, v in ROW.items() if k != "fields"}, "fields: Field required"),
        (ROW | {"extra": 1}, "extra: Extra inputs"),
        (ROW | {"task": "dishes"}, "unknown task 'dishes'"),
        (ROW | {"label": 2}, "label 2 is outside the 2 choices"),
        (ROW | {"label": -1}, "label -1 is outside"),
        (ROW | {"label": "1"}, "label: Input should be a valid integer"),
        (ROW | {"label": True}, "label: Input should be a valid integer"),
        (ROW | {"label": None}, "choices and label stand together"),
        (ROW | {"choices": None}, "choices and label stand together"),
        (ROW | {"choices": ["good"], "label": 0}, "choices: List should have at least 2"),
        (ROW | {"choices": ["good", "good"]}, "two choices are equal"),
        (ROW | {"fields": {}}, "fields: Dictionary should have at least 1"),
        (ROW | {"fields": {"meal": " \n"}}, "fields.meal: empty text"),
        (ROW | {"fields": {"meal": "a\x00b"}}, "a NUL byte"),
        (ROW | {"fields": {"meal": "a\ud800b"}}, "half a surrogate pair"),
        (
            ROW | {"fields": {"meal": "x" * (MAX_TEXT_CHARACTERS + 1)}},
            "100001 characters; the limit is 100000",
        ),
        (ROW | {"answers": []}, "answers: List should have at least 1"),
        (ROW | {"id": ""}, "id: empty text"),
    ],
)
def test_a_bad_row_is_refused_with_file_line_and_reason(tmp_path: Path, row: object, reason: str) -> None:
    path = write(tmp_path / "meals.jsonl", ROW, row)
    with pytest.raises(ExampleFileError) as refused:
        load_examples(path, {"meals"})
    assert (refused.value.file, refused.value.line) == (path, 2)
    assert reason in refused.value.reason
    assert "\n" not in str(refused.value)


def test_an_id_that_stands_twice_is_refused_where_it_stands_again(tmp_path: Path) -> None:
    path = write(tmp_path / "meals.jsonl", ROW, "", ROW)
    with pytest.raises(ExampleFileError, match="twice") as refused:
        load_examples(path)
    assert refused.value.line == 3


def test_bytes_that_are_no_text_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "meals.jsonl"
    with pytest.raises(ExampleFileError, match="No such file"):
        load_examples(path)
    path.write_bytes(b'{"id": "\xff"}\n')
    with pytest.raises(ExampleFileError, match="not UTF-8"):
        load_examples(path)
