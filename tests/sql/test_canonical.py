"""The canonical text that is built from raw rows is, byte for byte, what Postgres writes."""

import json
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.world import World

from loradex.service.audit.batch import batches
from loradex.service.audit.canonical import objects, written
from loradex.service.audit.evidence import ANSWERS, Table, table
from loradex.service.audit.snapshot import PINNED, as_printed

# Names are sorted by length, then by bytes; a percent sign must not be taken for a place to fill in.
COLUMNS = {
    "a": "text",
    "B": "character(7)",
    "é": "double precision",
    "ab": "bigint",
    "zz": "integer",
    "100%s": "boolean",
    "bytes": "bytea",
    "answer_id": "uuid",
    "moment": "timestamp with time zone",
    "document": "jsonb",
    "numbers": "double precision[]",
    "whole": "integer[]",
    "texts": "text[]",
    "vector": "public.vector",
}
TEXT = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12
) | st.sampled_from(
    ["\\", '"', "NULL", "null", "{", "}", ",", " ", "\x7f", "\x1f\b\f\v\r\n\t", "\u2028", 'a\\b"c', ""]
)
NUMBER = st.floats() | st.sampled_from(
    [-0.0, 1e-5, 1e15, 1.5e300, 5e-324, 0.1 + 0.2, 1e22, 123456789012345680.0]
)
WHOLE = st.integers(-(2**31), 2**31 - 1)
MOMENT = st.datetimes().map(lambda moment: f"{moment.isoformat()}+00") | st.sampled_from(
    [
        "infinity",
        "-infinity",
        "0044-03-15 12:00:00.5+00 BC",
        "12026-01-01 00:00:00.000001+00",
        "2026-01-01 00:00+05:45",
    ]
)
DOCUMENT = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


def optional(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


def grid(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Arrays of one dimension, or of two."""
    rows = st.integers(1, 3).flatmap(
        lambda width: st.lists(
            st.lists(optional(values), min_size=width, max_size=width), min_size=1, max_size=3
        )
    )
    return st.lists(optional(values), max_size=4) | rows


ROW = st.fixed_dictionaries(
    {
        "a": optional(TEXT),
        "B": optional(TEXT.map(lambda text: text[:7])),
        "é": optional(NUMBER),
        "ab": optional(st.integers(-(2**63), 2**63 - 1)),
        "zz": optional(WHOLE),
        "100%s": optional(st.booleans()),
        "bytes": optional(st.binary(max_size=8)),
        "answer_id": optional(st.uuids()),
        "moment": optional(MOMENT),
        "document": optional(DOCUMENT.map(json.dumps)),
        "numbers": optional(grid(NUMBER)),
        "whole": optional(grid(WHOLE)),
        "texts": optional(grid(TEXT)),
        "vector": optional(
            st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=4).map(
                str
            )
        ),
    }
)


@pytest.fixture
def values(scratch: World) -> World:
    """A table that has a column of each type, on a connection that reads as a verifier does."""
    pin(scratch)
    columns = ", ".join(f'"{name}" {kind}' for name, kind in COLUMNS.items())
    scratch.connection.execute(f"create table loradex.shapes ({columns})".encode())
    return scratch


def pin(world: World) -> None:
    """Until its transaction ends."""
    for setting in PINNED:
        world.connection.execute(setting)


@given(row=ROW)
@example(row=dict.fromkeys(COLUMNS))
def test_each_type_is_written_as_jsonb_writes_it(values: World, row: dict[str, Any]) -> None:
    places = ", ".join(f"%s::{kind}" for kind in COLUMNS.values())
    with values.connection.transaction(force_rollback=True):
        values.connection.execute(
            f"insert into loradex.shapes values ({places})".encode(), [row[name] for name in COLUMNS]
        )
        expected = values.value("select to_jsonb(s)::text from loradex.shapes s")
        shape = table(values.connection, "shapes")
        ((*texts,),) = printed(values.connection, shape)
        assert objects(
            {
                name: written(kind, [text])
                for (name, kind), text in zip(shape.columns.items(), texts, strict=True)
            }
        ) == [expected]


def printed(connection: psycopg.Connection[Any], shape: Table) -> list[Any]:
    with connection.cursor() as cursor:
        as_printed(cursor, shape.types)
        names = ", ".join(f'"{name}"' for name in shape.columns)
        return cursor.execute(f"select {names} from loradex.{shape.name}".encode()).fetchall()


@settings(max_examples=30)
@given(
    prompt=TEXT.filter(lambda text: text.strip() != ""), choice=TEXT.filter(lambda text: text.strip() != "")
)
def test_the_text_of_an_answer_is_that_of_the_database(scratch: World, prompt: str, choice: str) -> None:
    with scratch.connection.transaction(force_rollback=True):
        try:
            scratch.answered(
                {"prompt": prompt, "choices": [choice, choice + "x"], "top_p": 1.0},
                {"method": "base"},
                {"k": 1},
            )
        except psycopg.Error as error:
            assert error.sqlstate == "LX001"  # noqa: PT017 - what is refused is the queue's to say
            return
        pin(scratch)
        expected = dict(scratch.rows("select a.id, loradex.answer_canonical(a) from loradex.answers a"))
        assert dict(built(scratch.connection)) == expected


def built(connection: psycopg.Connection[Any]) -> list[tuple[UUID, str]]:
    """The canonical text of every answer, from raw rows."""
    return [
        (UUID(answer), text)
        for batch in batches(connection, table(connection, ANSWERS))
        for answer, text in zip(batch.columns["id"], batch.texts, strict=True)
        if answer is not None
    ]
