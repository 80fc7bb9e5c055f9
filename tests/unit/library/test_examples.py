"""Example files: a good row survives as it is, a bad one is refused with its line."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loradex.errors import ExampleFileError
from loradex.library.cards import TaskCard
from loradex.library.example_file import SHOWN, load_examples, numbered_examples
from loradex.library.examples import MAX_TEXT_CHARACTERS

ROW: dict[str, Any] = {
    "id": "meals-train-1",
    "task": "meals",
    "family": "sentiment",
    "fields": {"meal": "Cold soup."},
    "choices": ["good", "bad"],
    "label": 1,
    "answers": ["bad"],
}
CARD = TaskCard.model_validate(
    {
        "name": "meals",
        "family": "sentiment",
        "metric": "accuracy",
        "prompt": "{meal}",
        "choices": {"kind": "labels", "words": {"good": "yes", "bad": "no"}},
    }
)
CARDS = {"meals": CARD}
OPEN = {
    "cooks": TaskCard.model_validate(
        {"name": "cooks", "family": "people", "metric": "exact_match", "prompt": "Cook: {question}"}
    )
}
PAIRS = {
    "pairs": TaskCard.model_validate(
        {
            "name": "pairs",
            "family": "nli",
            "metric": "accuracy",
            "prompt": "{first} {second}",
            "choices": {"kind": "options"},
        }
    )
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
    (row,) = load_examples(path, CARDS)
    assert row.fields == fields
    assert row.choices == choices


def test_blank_lines_are_skipped_and_lines_are_counted_with_them(tmp_path: Path) -> None:
    path = write(tmp_path / "meals.jsonl", ROW, "", "  ", ROW | {"id": "meals-train-2"})
    assert [(line, row.id) for line, row in numbered_examples(path, CARDS)] == [
        (1, "meals-train-1"),
        (4, "meals-train-2"),
    ]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("{not json", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ([], "not an object"),
        ({k: v for k, v in ROW.items() if k != "fields"}, "no meal: the prompt of task meals"),
        (ROW | {"task": "dishes"}, "unknown task 'dishes'"),
        (ROW | {"label": 2}, "label 2 is outside the 2 choices (0 to 1)"),
        ({"prompt": "Soup?", "label": -1}, "label -1 is outside the 2 choices (0 to 1)"),
        ({"prompt": "Soup?", "label": 2}, "label 2 is outside the 2 choices (0 to 1)"),
        ({"prompt": "Soup?", "completion": "2"}, "label 2 is outside the 2 choices (0 to 1)"),
        ({"prompt": "Soup?", "completion": "1" * 5000}, "is not one of its choices"),
        ({"prompt": "Soup?", "label": 10**100}, "label 10000000000000000000 is outside the 2 choices"),
        ('{"prompt": "Soup?", "label": ' + "1" * 5000 + "}", "not JSON: "),
        (ROW | {"label": -1}, "label -1 is outside"),
        (ROW | {"label": "lukewarm"}, "'lukewarm' is not one of its choices: good, bad"),
        (ROW | {"label": [[]]}, "label: Input should be a valid integer"),
        (ROW | {"label": True}, "label: Input should be a valid integer"),
        (ROW | {"label": None, "answers": None}, "no label: say which choice is right"),
        (ROW | {"task": ["meals"]}, "unknown task"),
        ({"messages": [{"role": "user", "content": "Soup?"}]}, "a question and an answer are needed"),
        (
            {"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]},
            "the last one must be",
        ),
        (
            {"messages": [{"role": "user"}, {"role": "assistant", "content": "good"}]},
            "a content that is text",
        ),
        ({"prompt": "Soup?"}, "no label"),
        ({"prompt": "Soup?", "completion": "cold"}, "'cold' is not one of its choices"),
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
        (ROW | {"answers": 7}, "answers: Input should be a valid list"),
        (ROW | {"id": ""}, "id: empty text"),
    ],
)
def test_a_bad_row_is_refused_with_file_line_and_reason(tmp_path: Path, row: object, reason: str) -> None:
    path = write(tmp_path / "meals.jsonl", ROW, row)
    with pytest.raises(ExampleFileError) as refused:
        load_examples(path, CARDS)
    assert (refused.value.file, refused.value.line) == (path, 2)
    assert reason in refused.value.reason
    assert "\n" not in str(refused.value)


def test_an_id_that_stands_twice_is_refused_where_it_stands_again(tmp_path: Path) -> None:
    path = write(tmp_path / "meals.jsonl", ROW, "", ROW)
    with pytest.raises(ExampleFileError, match="twice") as refused:
        load_examples(path, CARDS)
    assert refused.value.line == 3


def test_bytes_that_are_no_text_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "meals.jsonl"
    with pytest.raises(ExampleFileError, match="No such file"):
        load_examples(path, CARDS)
    path.write_bytes(b'{"id": "\xff"}\n')
    with pytest.raises(ExampleFileError, match="not UTF-8"):
        load_examples(path, CARDS)


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Cold soup.", "completion": "bad"},
        {"prompt": "Cold soup.", "completion": "no"},
        {"meal": "Cold soup.", "label": 1, "written_by": ["me"]},
        {"meal": "Cold soup.", "label": "bad"},
        {"meal": "Cold soup.", "answers": ["bad"]},
        {"fields": {"meal": "Cold soup."}, "choices": ["good", "bad"], "answer": "bad"},
        {"messages": [{"role": "user", "content": "Cold soup."}, {"role": "assistant", "content": "no"}]},
    ],
)
def test_the_card_fills_in_what_a_row_leaves_out(tmp_path: Path, row: dict[str, Any]) -> None:
    (found,) = load_examples(write(tmp_path / "meals.train.jsonl", row), CARDS | OPEN)
    said = ROW | {"id": found.id}
    if row.get("answers") is None and "answer" not in row:
        assert found.answers == ["bad"]
    assert found.model_dump() == said
    assert found.id.startswith("meals-")


def test_a_chat_is_a_prompt_and_an_answer(tmp_path: Path) -> None:
    chat = [
        ("system", "Be short."),
        ("user", "Who?"),
        ("assistant", "Me."),
        ("user", "And?"),
        ("assistant", "You."),
    ]
    row = {"messages": [{"role": role, "content": text} for role, text in chat]}
    (found,) = load_examples(write(tmp_path / "any.jsonl", row), OPEN)
    assert (found.task, found.family, found.answers, found.choices) == ("cooks", "people", ["You."], None)
    assert found.fields == {"question": "Be short.\n\nWho?\n\nMe.\n\nAnd?"}


def test_a_table_is_read_by_the_names_in_its_first_line(tmp_path: Path) -> None:
    path = tmp_path / "pairs.train.csv"
    path.write_text('\ufefffirst,second,choices,label,note\n"a, b",c,x|y,y,\n"d\ne",f,x|z,0,hm\n')
    one, two = load_examples(path, PAIRS | OPEN)
    assert (one.fields, one.choices, one.label) == ({"first": "a, b", "second": "c"}, ["x", "y"], 1)
    assert (two.fields["first"], two.label, two.answers) == ("d\ne", 0, ["x"])
    path.write_text("first,second,choices,label\na,b,x|y,1,more\n")
    with pytest.raises(ExampleFileError, match=r":2: it has not as many cells"):
        load_examples(path, PAIRS)
    path.write_text('first,second\n"a')
    with pytest.raises(ExampleFileError, match="not CSV"):
        load_examples(path, PAIRS)


def test_all_bad_rows_of_a_table_are_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "pairs.train.csv"
    good = "a,b,x|y,1"
    broken = ["a,b,x|y", good, 'a,"b"c,x|y,1', good, "a,b,x|y,1,more", "a,b,x|y,z", good]
    path.write_text("first,second,choices,label\n" + "\n".join(broken) + "\n")
    with pytest.raises(ExampleFileError) as refused:
        load_examples(path, PAIRS)
    cells = "it has not as many cells as the first line"
    first, second, *others = refused.value.reason.split("; ")
    assert (refused.value.line, first) == (2, cells)
    assert second.startswith("line 4: not CSV: ")
    assert others == [f"line 6: {cells}", "line 7: 'z' is not one of its choices: x, y"]
    path.write_text("first,second,choices,label\n" + "a\n" * 100)
    with pytest.raises(ExampleFileError, match=f"and {100 - SHOWN} more lines"):
        load_examples(path, PAIRS)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'fi"rst,"sec"ond\na,b\nc,d\n', r":1: not CSV: [^;]*$"),
        (b"first,second\na\nb,\xff\n", r":0: not UTF-8"),
    ],
)
def test_a_table_without_names_or_text_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "pairs.train.csv"
    path.write_bytes(content)
    with pytest.raises(ExampleFileError, match=reason):
        load_examples(path, PAIRS)


def test_only_a_cell_of_a_table_is_taken_apart(tmp_path: Path) -> None:
    table = tmp_path / "cooks.train.csv"
    table.write_text("question,answers\nWho?,me|you\n")
    (found,) = load_examples(table, OPEN)
    assert found.answers == ["me", "you"]
    row = {"question": "Who?", "answers": "me|you"}
    (found,) = load_examples(write(tmp_path / "cooks.train.jsonl", row), OPEN)
    assert found.answers == ["me|you"]
    row = {"first": "a", "second": "b", "choices": "x|y", "label": 1}
    with pytest.raises(ExampleFileError, match="choices: Input should be a valid list"):
        load_examples(write(tmp_path / "pairs.jsonl", row), PAIRS)


def test_the_same_row_has_the_same_id_wherever_it_stands(tmp_path: Path) -> None:
    row, other = ({"prompt": text, "completion": "me"} for text in ("Who?", "And?"))
    first = load_examples(write(tmp_path / "one.jsonl", row, other), OPEN)
    again = load_examples(write(tmp_path / "two.jsonl", other, row, row), OPEN)
    assert [one.id for one in again] == [first[1].id, first[0].id, f"{first[0].id}-2"]


def test_all_refused_lines_are_told_at_once(tmp_path: Path) -> None:
    path = write(tmp_path / "meals.jsonl", "{", ROW, ROW | {"label": 9}, ROW | {"id": "2", "task": "x"})
    with pytest.raises(ExampleFileError) as refused:
        load_examples(path, CARDS)
    told = str(refused.value)
    assert refused.value.line == 1
    assert [
        part in told
        for part in ("meals.jsonl:1: not JSON", "; line 3: label 9", "; line 4: unknown task 'x'")
    ] == [True] * 3
    with pytest.raises(ExampleFileError, match=f"and {100 - SHOWN} more lines"):
        load_examples(write(path, *["{"] * 100), CARDS)
