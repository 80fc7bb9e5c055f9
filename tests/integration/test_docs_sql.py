"""Every query the documentation shows, run as a reader; every view and function is shown."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from tests.documented import Shown, audience, shown
from tests.fix_db import ROLES, with_user
from tests.repository import ROOT

from loradex.db.session import connect

PAGE = ROOT / "docs" / "sql.md"
PAGES = (PAGE, ROOT / "README.md")
BLOCKS = [pytest.param(block, id=f"{page.name}:{block.line}") for page in PAGES for block in shown(page)]
# Granted to readers because what an analyst calls is made of them.
PARTS = {
    *("answer_canonical", "answer_document", "answer_hash", "check_routing", "check_vector"),
    *("encoder_index", "job_request"),
    *("mix_affinities", "mix_neighbours", "search_examples", "search_exactly", "search_in_parts"),
    *("search_groups", "search_vectors"),
}


@pytest.fixture(scope="module")
def reader(starter: str) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    with connect(with_user(starter, "loradex_reader")) as connection:
        yield connection


@pytest.mark.parametrize("block", BLOCKS)
def test_it_prints_what_the_page_shows(reader: psycopg.Connection[tuple[Any, ...]], block: Shown) -> None:
    """The same columns, and rows where it shows rows; how many may depend on what the index misses."""
    cursor = reader.execute(block.sql.encode())
    assert cursor.description is not None
    assert block.columns == [column.name for column in cursor.description]
    assert bool(cursor.fetchall()) == block.has_rows


def test_everything_a_reader_may_ask_is_shown(reader: psycopg.Connection[tuple[Any, ...]]) -> None:
    allowed = reader.execute(
        """
        select relname from pg_class where relnamespace = 'loradex'::regnamespace and relkind = 'v'
        union
        select proname from pg_proc
        where pronamespace = 'loradex'::regnamespace and has_function_privilege(oid, 'execute')
        """
    ).fetchall()
    assert audience(PAGE).keys() == {name for (name,) in allowed} - PARTS


def test_it_names_the_roles_that_may_ask(reader: psycopg.Connection[tuple[Any, ...]]) -> None:
    allowed = reader.execute(
        """
        select o.name, r.role
        from unnest(%s::text[]) r(role)
        cross join lateral (
            select relname as name, has_table_privilege(r.role, oid, 'select') as may
            from pg_class where relnamespace = 'loradex'::regnamespace and relkind = 'v'
            union all
            select proname, has_function_privilege(r.role, oid, 'execute')
            from pg_proc where pronamespace = 'loradex'::regnamespace
        ) o
        where o.may
        """,
        (list(ROLES),),
    ).fetchall()
    assert {(name, role) for name, roles in audience(PAGE).items() for role in roles} == {
        (name, role) for name, role in allowed if name in audience(PAGE)
    }
