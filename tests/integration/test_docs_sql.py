"""Every query the documentation shows, run as a reader; every view and function is shown."""

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import psycopg
import pytest
from tests.documented import Shown, audience, shown
from tests.fix_db import ROLES, with_user
from tests.repository import ROOT
from tests.world import World

from loradex.db.logins import group_named
from loradex.db.session import connect
from loradex.service.cli.demo import QUESTIONS
from loradex.worker.engine.embed import Encoder

PAGE = ROOT / "docs" / "sql.md"
CONCEPTS = ROOT / "docs" / "concepts.md"
CONTRACT = ROOT / "docs" / "sql-contract.md"
PAGES = (PAGE, ROOT / "README.md")
BLOCKS = [pytest.param(block, id=f"{page.name}:{block.line}") for page in PAGES for block in shown(page)]
# Granted to readers because what an analyst calls is made of them, or because a program may call them.
PARTS = {
    *("answer_canonical", "answer_document", "answer_hash", "check_names", "check_routing", "check_settings"),
    *("check_vector", "current_owner", "decide_routes", "encoder_index", "examples_hash", "is_drawn"),
    *("job_request", "mix_affinities", "mix_neighbours", "recipe_hash", "search_examples", "search_exactly"),
    *("search_in_parts", "search_groups", "search_vectors", "shown", "answer_commitments", "answer_erasable"),
    *("choice_form", "framed_text", "history_of_choices", "unknown_name"),
    *("wrong_messages", "wrong_numbers", "wrong_pairs", "wrong_texts"),
    *("chain_beginning", "chain_head", "erasure_canonical", "archive_canonical"),
    # Looked up in a table of the page.
    *("retrievals", "retrieved_examples", "retrieved_tasks", "merge_results", "merge_components", "first_id"),
    "expiry",
    "finish_reason",
}
ACTOR = re.compile(r"-- (?P<role>client|worker)\n")
OUTPUT = re.compile(r"^```text\n(?P<output>.*?)^```", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"-?\d+\.\d+")
CLOSE = 0.05
"""How far a figure may be from the page: the index is approximate, and may miss a neighbour."""


@pytest.fixture(scope="module")
def reader(starter: str) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    with connect(with_user(starter, "loradex_reader")) as connection:
        yield connection


@pytest.fixture
def undone(starter: str) -> Iterator[World]:
    """The starter library and its answers, as the owner; what the test does is rolled back."""
    with connect(starter) as connection, connection.transaction(force_rollback=True):
        yield World(connection, {}, np.random.default_rng(0))


@pytest.mark.parametrize("block", BLOCKS)
def test_it_prints_what_the_page_shows(reader: psycopg.Connection[tuple[Any, ...]], block: Shown) -> None:
    """The same columns, and rows where it shows rows; how many may depend on what the index misses."""
    cursor = reader.execute(block.sql.encode())
    assert cursor.description is not None
    assert block.columns == [column.name for column in cursor.description]
    assert bool(cursor.fetchall()) == block.has_rows


def test_the_concepts_are_explained_with_true_numbers(undone: World) -> None:
    """The question of the page, asked again with the defaults: every figure comes out as shown."""
    question = QUESTIONS[0]
    (job,) = undone.enqueue({"prompt": question.prompt, "choices": question.choices})
    attempt = undone.claim()[job]
    routing = undone.route([job], [Encoder.load().embed([question.prompt])[0]])[job]
    undone.record(job, attempt, routing)
    for block, output in blocks_with_output(CONCEPTS.read_text(encoding="utf-8")):
        assert_prints(undone, block, output)


def test_a_job_goes_all_the_way_in_plain_sql(undone: World) -> None:
    """The example of the contract's page, each statement with no more rights than the role it names."""
    for block, output in blocks_with_output(CONTRACT.read_text(encoding="utf-8")):
        actor = ACTOR.match(block)
        assert actor is not None, block
        undone.rows("select set_config('role', %s, true)", group_named(actor["role"]).login)
        if output.startswith("ERROR:"):
            with pytest.raises(psycopg.Error) as error, undone.connection.transaction():
                undone.rows(block)
            assert without_ids(error.value.diag.message_primary or "") == without_ids(output[8:].strip())
        else:
            assert_prints(undone, block, output)


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


def blocks_with_output(text: str) -> list[tuple[str, str]]:
    """Each block of SQL on a page, with the output that follows it."""
    found = []
    for part in text.split("```sql\n")[1:]:
        sql, _, rest = part.partition("```\n")
        output = OUTPUT.search(rest)
        assert output is not None, sql
        found.append((sql, output["output"]))
    return found


def assert_prints(world: World, sql: str, output: str) -> None:
    """The same columns and cells, where a figure with decimals may be a little another."""
    header, _, *lines = output.splitlines()
    cursor = world.connection.execute(sql.encode())
    assert cursor.description is not None
    assert [name.strip() for name in header.split("|")] == [column.name for column in cursor.description]
    rows = [[cell.strip() for cell in line.split("|")] for line in lines]
    fetched = [[cell_text(cell) for cell in row] for row in cursor.fetchall()]
    assert len(fetched) == len(rows), sql
    for expected, found in zip(rows, fetched, strict=True):
        for wanted, got in zip(expected, found, strict=True):
            if NUMBER.fullmatch(wanted):
                assert float(got) == pytest.approx(float(wanted), rel=CLOSE, abs=0.001), (
                    sql,
                    expected,
                    found,
                )
            else:
                assert got == wanted, (sql, expected, found)


def cell_text(cell: object) -> str:
    """A value as psql prints it."""
    return {True: "t", False: "f", None: ""}[cell] if isinstance(cell, bool | None) else str(cell)


def without_ids(text: str) -> str:
    return re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ID", text)
