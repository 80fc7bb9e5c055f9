"""Example files into a real database, as `loradex_admin`."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pgvector.psycopg import register_vector
from tests.fix_db import RoleUrl
from tests.fix_library import DIMENSIONS, ENCODER, CountingEncoder, rivers, tools, weather, write_lines

from loradex.db.session import connect, translate_errors
from loradex.errors import ExampleFileError, InvalidArgumentError, LoradexError, PermissionRefusedError
from loradex.library import example_store
from loradex.library.cards import TaskCard
from loradex.library.ingest import EncoderFacts, FileReport, Ingest, check_files
from loradex.library.rendered import RenderedExample
from loradex.library.vectors import TextEncoder, VectorCache

Connection = psycopg.Connection[tuple[Any, ...]]
FACTS = EncoderFacts(ENCODER.name, ENCODER.revision, ENCODER.dimensions)


@pytest.fixture
def admin(role_url: RoleUrl) -> Iterator[Connection]:
    with connect(role_url("loradex_admin")) as opened:
        yield opened


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[VectorCache]:
    with VectorCache.of(tmp_path, ENCODER.name, ENCODER.revision) as opened:
        yield opened


Add = Callable[..., list[FileReport]]


@pytest.fixture
def encoder() -> CountingEncoder:
    return CountingEncoder()


@pytest.fixture
def add(admin: Connection, cards: dict[str, TaskCard], cache: VectorCache, encoder: CountingEncoder) -> Add:
    """Check and add files, as the program does."""

    def call(*paths: Path, encoder: TextEncoder = encoder, facts: EncoderFacts = FACTS) -> list[FileReport]:
        files = check_files(paths, cards, None)
        with translate_errors():
            return list(Ingest(admin, cards, facts, lambda: encoder, cache).add_all(files, lambda _: None))

    return call


def rows_of(connection: Connection) -> list[tuple[Any, ...]]:
    return connection.execute(
        """
        select e.task, e.source_ref, e.prompt, e.target, e.sha256, v.encoder, v.task = e.task
        from loradex.examples e left join loradex.example_embeddings v on v.example_id = e.id
        order by e.task, e.source_ref
        """
    ).fetchall()


def count(connection: Connection) -> int:
    row = connection.execute("select count(*) from loradex.examples").fetchone()
    assert row is not None
    return int(row[0])


def test_files_are_added_with_text_hash_vector_and_task_card(
    add: Add, connection: Connection, data_directory: Path, cards: dict[str, TaskCard]
) -> None:
    reports = add(*sorted(data_directory.iterdir()))
    assert [(report.file.name, report.rows, report.added) for report in reports] == [
        ("rivers.train.jsonl", 6, 6),
        ("tools.train.jsonl", 6, 6),
        ("weather.train.jsonl", 6, 6),
    ]
    rows = rows_of(connection)
    assert len(rows) == 18
    task, ref, prompt, target, sha256, encoder, same_task = rows[12]
    assert (task, ref, target, encoder, same_task) == (
        "weather",
        "weather-train-0",
        "yes",
        ENCODER.name,
        True,
    )
    assert prompt == "Premise: It rained for 0 days.\nHypothesis: The river rose in week 0.\nDoes it follow?"
    assert sha256 == RenderedExample(1, task, ref, prompt, target).sha256
    stored = connection.execute(
        "select name, family, card ->> 'prompt' from loradex.tasks order by name"
    ).fetchall()
    assert stored == [(name, card.family, card.prompt) for name, card in sorted(cards.items())]


def test_the_stored_vector_is_the_encoders(add: Add, connection: Connection, data_directory: Path) -> None:
    add(data_directory / "rivers.train.jsonl")
    register_vector(connection)
    rows = connection.execute(
        "select prompt, embedding from loradex.examples join loradex.example_embeddings on example_id = id"
    ).fetchall()
    assert len(rows) == 6
    for prompt, vector in rows:
        assert np.array_equal(vector.to_numpy(), CountingEncoder().embed([prompt])[0])


def test_adding_again_adds_nothing_and_embeds_nothing(
    add: Add, connection: Connection, data_directory: Path, encoder: CountingEncoder
) -> None:
    add(*data_directory.iterdir())
    before, embedded = rows_of(connection), encoder.texts
    assert embedded == 18
    again = add(*data_directory.iterdir())
    assert [(report.added, report.present, report.completed) for report in again] == [(0, 6, 0)] * 3
    assert rows_of(connection) == before
    assert encoder.texts == embedded


def test_a_file_that_grew_adds_what_is_new(
    add: Add, connection: Connection, tmp_path: Path, encoder: CountingEncoder
) -> None:
    path = write_lines(tmp_path / "w.jsonl", [weather(number) for number in range(3)])
    add(path)
    write_lines(path, [weather(number) for number in range(5)])
    assert [(report.added, report.present) for report in add(path)] == [(2, 3)]
    assert encoder.texts == 5
    assert count(connection) == 5


def test_vectors_come_from_the_cache_after_the_database_lost_them(
    add: Add, connection: Connection, data_directory: Path, encoder: CountingEncoder
) -> None:
    add(*data_directory.iterdir())
    before = rows_of(connection)
    connection.execute("truncate loradex.examples, loradex.example_embeddings, loradex.projected_examples")
    assert sum(report.added for report in add(*data_directory.iterdir())) == 18
    assert rows_of(connection) == before
    assert encoder.texts == 18


def test_a_killed_run_goes_on_where_it_was(
    add: Add,
    connection: Connection,
    tmp_path: Path,
    encoder: CountingEncoder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Dies(CountingEncoder):
        def embed(self, texts: Any, /) -> Any:
            if self.texts >= 4:
                raise KeyboardInterrupt
            return super().embed(texts)

    monkeypatch.setattr("loradex.library.vectors.BATCH", 2)
    path = write_lines(tmp_path / "t.jsonl", [tools(number) for number in range(9)])
    with pytest.raises(KeyboardInterrupt):
        add(path, encoder=Dies())
    assert count(connection) == 0
    assert [report.added for report in add(path)] == [9]
    assert encoder.texts == 5


def test_the_same_reference_with_another_text_is_refused_and_nothing_of_the_file_is_kept(
    add: Add, connection: Connection, tmp_path: Path
) -> None:
    add(write_lines(tmp_path / "one.jsonl", [tools(1)]))
    before = rows_of(connection)
    changed = tools(1) | {"fields": {"goal": "Something else."}}
    path = write_lines(tmp_path / "two.jsonl", [tools(2), tools(3), changed])
    with pytest.raises(ExampleFileError, match=r"two\.jsonl:3: .*'tools-train-1'.* another text"):
        add(path)
    assert rows_of(connection) == before


BAD: list[tuple[Any, str]] = [
    ("{", "not JSON"),
    ("[]", "not an object"),
    (tools(9) | {"fields": {}}, "fields"),
    ({key: value for key, value in tools(9).items() if key not in {"label", "answers"}}, "no label"),
    (tools(9) | {"task": "cooking"}, "unknown task 'cooking'"),
    (tools(9) | {"label": 2}, "label 2 is outside"),
    (tools(9) | {"label": -1}, "label -1 is outside"),
    (tools(9) | {"fields": {"goal": "  "}}, "empty text"),
    (tools(9) | {"fields": {"goal": "a\0b"}}, "NUL byte"),
    (tools(9) | {"fields": {"goal": "x" * 100_001}}, "100001 characters"),
    (tools(9) | {"fields": {"aim": "typo"}}, "no field 'goal'"),
    (weather(9) | {"choices": ["entailment", "perhaps"], "label": 1}, "no word for the label 'perhaps'"),
    (tools(0), "stands there twice"),
    ('{"id": "\\ud800"}', "names no task"),
    (b"\xff\xfe", "not UTF-8"),
    ("[" * 100_000, "not JSON"),
]


@pytest.mark.parametrize(("line", "reason"), BAD)
def test_a_bad_line_is_named_and_nothing_is_kept(
    add: Add, connection: Connection, tmp_path: Path, line: Any, reason: str
) -> None:
    good = write_lines(tmp_path / "good.jsonl", [rivers(0)])
    bad = write_lines(tmp_path / "bad.jsonl", [tools(0), tools(1)])
    with bad.open("ab") as stream:
        raw = (
            line
            if isinstance(line, bytes)
            else (line if isinstance(line, str) else json.dumps(line)).encode()
        )
        stream.write(b"\n" + raw + b"\n" + json.dumps(tools(2)).encode())
    with pytest.raises(ExampleFileError, match=reason) as refused:
        add(good, bad)
    assert str(refused.value).startswith(f"{bad}:4: ")
    assert refused.value.line == 4
    assert count(connection) == 0


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
near_rows = st.dictionaries(st.sampled_from(sorted(tools(0))), values, max_size=3).map(
    lambda some: tools(0) | some
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(near_rows | values)
def test_any_line_is_added_whole_or_refused(
    add: Add, connection: Connection, tmp_path: Path, row: Any
) -> None:
    connection.execute("truncate loradex.examples, loradex.example_embeddings, loradex.projected_examples")
    path = write_lines(tmp_path / "fuzz.jsonl", [rivers(0), row])
    refused = ""
    try:
        add(path)
    except LoradexError as error:
        refused = str(error)
    assert count(connection) == (0 if refused else 2)
    assert not refused or refused.startswith(f"{path}:2: ")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    goal=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=40)
)
def test_any_text_is_stored_as_it_was_read(
    add: Add, connection: Connection, tmp_path: Path, goal: str
) -> None:
    connection.execute("truncate loradex.examples, loradex.example_embeddings, loradex.projected_examples")
    if not goal.strip():
        return
    add(write_lines(tmp_path / "text.jsonl", [tools(0) | {"fields": {"goal": goal}}]))
    assert rows_of(connection)[0][2] == f"Goal: {goal}"


def test_two_encoders_have_their_vectors_side_by_side(
    add: Add, connection: Connection, data_directory: Path
) -> None:
    add(data_directory / "tools.train.jsonl")
    other = EncoderFacts("another", "r1", DIMENSIONS)
    reports = add(data_directory / "tools.train.jsonl", facts=other)
    assert [(report.added, report.completed) for report in reports] == [(0, 6)]
    counted = connection.execute(
        "select encoder, count(*) from loradex.example_embeddings group by encoder order by encoder"
    ).fetchall()
    assert counted == [("another", 6), ("counting", 6)]


def test_another_revision_of_an_encoder_is_refused(
    add: Add, connection: Connection, data_directory: Path
) -> None:
    add(data_directory / "tools.train.jsonl")
    with pytest.raises(InvalidArgumentError, match="another name"):
        add(data_directory / "rivers.train.jsonl", facts=EncoderFacts("counting", "r2", DIMENSIONS))
    assert count(connection) == 6


def index_of(connection: Connection) -> str | None:
    row = connection.execute(
        "select to_regclass('loradex.' || loradex.encoder_index('counting'))::text"
    ).fetchone()
    assert row is not None
    return row[0]


@pytest.mark.parametrize("fails", [False, True])
def test_after_a_bulk_load_the_index_is_there_even_if_it_failed(
    add: Add, connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, fails: bool
) -> None:
    monkeypatch.setattr(example_store, "BULK_ROWS", 3)
    path = write_lines(tmp_path / "bulk.jsonl", [tools(number) for number in range(8)])
    if fails:

        def break_off(*_: object) -> None:
            assert index_of(connection) is None
            raise InvalidArgumentError("broken off")

        monkeypatch.setattr(example_store.ExampleStore, "add", break_off)
        with pytest.raises(InvalidArgumentError, match="broken off"):
            add(path)
    else:
        add(path)
    assert index_of(connection) is not None
    assert count(connection) == (0 if fails else 8)


def test_a_large_load_groups_near_duplicates(
    add: Add, connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(example_store, "BULK_ROWS", 3)
    monkeypatch.setattr(example_store, "GROUP_FROM", 8)
    rows = [tools(number) | {"fields": {"goal": f"Goal {number % 2}"}} for number in range(8)]
    add(write_lines(tmp_path / "alike.jsonl", rows))
    groups = connection.execute(
        "select count(duplicate_of), count(distinct duplicate_of) from loradex.example_embeddings"
    ).fetchall()
    assert groups == [(6, 2)]


def test_only_the_administrator_may_add(
    role_url: RoleUrl,
    cards: Mapping[str, TaskCard],
    cache: VectorCache,
    data_directory: Path,
    connection: Connection,
) -> None:
    files = check_files([data_directory / "tools.train.jsonl"], cards, None)
    for role in ("loradex_reader", "loradex_client"):
        with connect(role_url(role)) as opened, pytest.raises(PermissionRefusedError), translate_errors():
            list(Ingest(opened, cards, FACTS, CountingEncoder, cache).add_all(files, lambda _: None))
    assert count(connection) == 0


def test_a_row_of_another_task_is_refused_where_one_is_named(
    data_directory: Path, cards: dict[str, TaskCard]
) -> None:
    path = data_directory / "tools.train.jsonl"
    assert len(check_files([path], cards, "tools")[path]) == 6
    with pytest.raises(ExampleFileError, match=r":1: its task is 'tools', not 'weather'"):
        check_files([path], cards, "weather")
