"""Every function of the catalogue keeps its contract; one without a contract fails here."""

import psycopg
import pytest
from psycopg.types.json import Json
from tests.contracts import CONTRACTS, PLACES, Reads, Refusal
from tests.fix_db import ROLES
from tests.fix_many import rows_read
from tests.world import World

LARGE = {
    *("answers", "example_embeddings", "examples", "jobs"),
}


def test_every_function_has_a_contract(scratch: World) -> None:
    names = scratch.rows("select distinct proname from pg_proc where pronamespace = 'loradex'::regnamespace")
    assert {name for (name,) in names} == CONTRACTS.keys()


@pytest.mark.parametrize("name", CONTRACTS)
def test_only_its_roles_may_call_it(scratch: World, name: str) -> None:
    allowed = scratch.rows(
        """
        select distinct role from unnest(%s::text[]) role, pg_proc
        where pronamespace = 'loradex'::regnamespace and proname = %s
          and has_function_privilege(role, pg_proc.oid, 'execute')
        """,
        [*ROLES, "public"],
        name,
    )
    assert {role for (role,) in allowed} == CONTRACTS[name].roles


REFUSALS = [(name, one.refuses) for name, one in CONTRACTS.items() if isinstance(one.refuses, Refusal)]


@pytest.mark.parametrize(("name", "refusal"), REFUSALS, ids=[name for name, _ in REFUSALS])
def test_it_refuses_a_bad_argument(scratch: World, name: str, refusal: Refusal) -> None:
    with pytest.raises(psycopg.Error) as refused:
        scratch.connection.execute(refusal.call.format().encode())
    assert refused.value.sqlstate == refusal.sqlstate, str(refused.value)
    assert name == "refuse_change" or name in refusal.call


READS = [(name, one.reads) for name, one in CONTRACTS.items() if isinstance(one.reads, Reads)]


@pytest.mark.parametrize(("name", "reads"), READS, ids=[name for name, _ in READS])
def test_it_reads_no_more_than_it_needs(many: World, name: str, reads: Reads) -> None:
    """Of 12,200 examples, 3,000 answers and 300 waiting jobs."""
    with many.connection.transaction(force_rollback=True):
        many.rows("select loradex.claim_jobs('w', 1, '1 hour', 1)")
        places = {place: literal(many, found) for place, found in PLACES.items()}
        places["record"] = recording(many, places)
        statement = reads.call.format(**places)
        _, read = rows_read(many, statement.replace("%", "%%"))
    counted = {table: rows for table, rows in read.items() if rows and large(table)}
    assert sum(counted.values()) <= reads.rows, counted


def large(table: str) -> bool:
    return table in LARGE or table.startswith("answers_")


def literal(world: World, expression: str) -> str:
    """The value of an expression, as SQL that looks at nothing."""
    ((text, kind),) = world.rows(
        f"select quote_literal(x::text), pg_typeof(x)::text from (select {expression} x) y"
    )
    return f"{text}::{kind}"


def recording(world: World, places: dict[str, str]) -> str:
    """The call that records an answer to the running job."""
    ((job, routing),) = world.rows(
        "select job_id, routing "
        f"from loradex.route_jobs(array[{places['running']}], array[{places['query']}])"
    )
    document = psycopg.sql.quote(Json(world.said(job, routing)), world.connection)
    return f"select loradex.record_answer({places['running']}, 1, {document}::jsonb)"
