"""Limits come first: no argument, however large, costs much memory or time, and none is accepted beyond its bound."""

import json
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb
from tests.call_costs import ACCEPTED, BYTES_PER_BYTE, peak_of
from tests.fix_db import Connection, new_database
from tests.world import World

from loradex.db.session import connect
from loradex.embedded import EmbeddedPostgres
from loradex.service.client.calls import ENQUEUE

MIB = 1 << 20


class Backend:
    """A session whose process's memory is watched; the plans of enqueue_jobs are made."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.rows("select * from loradex.enqueue_jobs(%s)", json.dumps([{"prompt": "warm"}]))

    @property
    def peak(self) -> int:
        """Bytes the process held at most so far."""
        return peak_of(self.connection)

    def rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        return self.connection.execute(statement.encode(), values).fetchall()


@pytest.fixture(scope="module")
def sizes(postgres: EmbeddedPostgres, stocked: str) -> Iterator[str]:
    """A database of this file's own, whose queue is filled."""
    with new_database(postgres, stocked) as url:
        yield url


@pytest.fixture
def backend(sizes: str) -> Iterator[Backend]:
    with connect(sizes) as connection:
        yield Backend(connection)


@pytest.mark.parametrize("kind", ACCEPTED)
@pytest.mark.parametrize("form", ["text", "jsonb"])
def test_memory_is_linear_in_what_is_accepted(backend: Backend, kind: str, form: str) -> None:
    jobs = list(ACCEPTED[kind])
    document = json.dumps(jobs)
    before = backend.peak
    given = document if form == "text" else Jsonb(jobs)
    accepted = backend.rows("select * from loradex.enqueue_jobs(%s)", given)
    assert len(accepted) == len(jobs)
    assert backend.peak - before <= BYTES_PER_BYTE * len(document) + 8 * MIB


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (json.dumps([{"prompt": "x" * 40_000_000}]), "max_call_bytes"),
        (json.dumps([{"prompt": "x" * 10_000_000}]), "too many characters"),
        (json.dumps([{"prompt": "x" * 100_001}]), "100001 characters"),
        (json.dumps([{}] * 1_000_000), "at most 10000 at a time"),
        (json.dumps([{"prompt": "x", "choices": ["a"] * 1_000_000}]), "at most 256"),
        (json.dumps([{"prompt": "x", "exclude_tasks": ["a"] * 1_000_000}]), "at most 1000"),
        (json.dumps([{"prompt": "x", "choices": ["a" * 90_000, "b" * 90_000]}]), "together"),
        (json.dumps([{"prompt": "x", "stop": ["a"] * 1_000_000}]), "at most 4"),
        (json.dumps([{"prompt": "x", "logit_bias": {str(n): 1 for n in range(300_000)}}]), "at most 300"),
        (json.dumps([{f"field {n}": 1 for n in range(300_000)}]), "unknown field"),
        ("[" * 100_000 + "]" * 100_000, "."),
        ('[{"prompt": "x", "k": ' + "9" * 1_000_000 + "}]", "whole number"),
        ('[{"prompt": "x", "top_p": 1e999999999}]', "."),
        (json.dumps([{"x" * 1_000_000: 1}]), "unknown field"),
        (json.dumps([{"prompt": "x", "method": "m" * 1_000_000}]), "at most"),
        ("not JSON", "not valid JSON"),
        ('[{"prompt": "\\u0000"}]', "not valid JSON"),
    ],
)
def test_a_refused_call_costs_little(backend: Backend, document: str, reason: str) -> None:
    """What Postgres needs to hand a text of this length to any function is three to four times its length."""
    before, started = backend.peak, time.monotonic()
    with pytest.raises(psycopg.Error, match=reason) as error:
        backend.rows("select * from loradex.enqueue_jobs(%s)", document)
    assert error.value.sqlstate in {"LX001", "54001"}, error.value
    assert len(error.value.diag.message_primary or "") < 5000
    # The rest are the plans of what the settings declare.
    assert backend.peak - before <= BYTES_PER_BYTE * len(document) + 10 * MIB
    assert time.monotonic() - started < 60


def test_a_refused_document_is_measured_before_postgres_copies_it(backend: Backend) -> None:
    """100 MB as they arrive and once as a value, which is what no function can prevent; a plan would hold two more."""
    document = json.dumps([{"prompt": "x" * 100_000_000}])
    before = backend.peak
    for statement in ("select * from loradex.enqueue_jobs(%s)", "select loradex.enqueue_jobs(%s)", ENQUEUE):
        with pytest.raises(psycopg.Error, match="max_call_bytes") as error:
            backend.rows(statement, document)
        assert error.value.sqlstate == "LX001"
    assert backend.peak - before < 220 * 1_000_000


HUGE = {
    "text": "repeat('x', 5000000)",
    "call_document": "repeat('x', 5000000)",
    "text[]": "array_fill('x'::text, array[300000])",
    "jsonb": "jsonb_build_object('x', repeat('x', 5000000))",
    "json": "json_build_object('x', repeat('x', 5000000))",
    "integer": "2147483647",
    "bigint": "9223372036854775807",
    "bigint[]": "array_fill(1::bigint, array[300000])",
    "numeric": "('9e+9999')::numeric",
    "double precision": "'NaN'::float8",
    "interval": "interval '170000000 years'",
    "timestamp with time zone": "'infinity'::timestamptz",
    "uuid": "gen_random_uuid()",
    "uuid[]": "array_fill(gen_random_uuid(), array[300000])",
    "boolean": "true",
    "bytea": "convert_to(repeat('x', 5000000), 'UTF8')",
    "vector": "array_fill(1, array[16000])::vector",
    "vector[]": "array_fill('[1]'::vector, array[100000])",
}
COSTLY = {
    "mislabelled_candidates",
    "task_overlap",
    "example_neighbours",
    "duplicate_examples",
    "build_search",
}
"""They look at every example; how many is the library's size, not an argument's."""
ROWS = {"route_request[]", "neighbour[]", "jobs", "answers", "settings", "adapters", "erasures", "archives"}
"""Rows that other functions hand over, which have judged them."""


def refusal(backend: Backend, call: str) -> psycopg.Error | None:
    """The error a call is refused with; None if it is not. What it did is taken back."""
    with backend.connection.transaction(force_rollback=True):
        backend.connection.execute("set local statement_timeout = '20s'")
        try:
            with backend.connection.transaction():
                backend.rows(call)
        except psycopg.Error as error:
            return error
    return None


def test_no_argument_of_any_function_costs_more_than_it_is_long(backend: Backend) -> None:
    """Every argument in turn is huge, the others are null or their default."""
    functions = backend.rows(
        """
        select p.proname, array(select format_type(t, null) from unnest(p.proargtypes) t),
               p.proargnames, p.pronargs - p.pronargdefaults
        from pg_proc p where p.pronamespace = 'loradex'::regnamespace and p.pronargs > 0
        order by p.oid::regprocedure::text
        """
    )
    looked_at = 0
    for name, types, names, _ in functions:
        short = [kind.removeprefix("loradex.").removeprefix("public.") for kind in types]
        if name in COSTLY or ROWS & set(short):
            continue
        for place, kind in enumerate(short):
            call = f"select * from loradex.{name}({names[place]} => {HUGE[kind]}" + "".join(
                f", {names[other]} => null::{types[other]}" for other in range(len(types)) if other != place
            )
            before, started = backend.peak, time.monotonic()
            error = refusal(backend, call + ")")
            state = "" if error is None else str(error.sqlstate)
            assert not state or state.startswith(("LX", "22", "54")) or state in {"42501", "23514"}, (
                call,
                error,
            )
            assert error is None or len(error.diag.message_primary or "") < 5000, call
            assert backend.peak - before < 150 * MIB, call
            assert time.monotonic() - started < 20, call
            looked_at += 1
    assert looked_at > 80


@pytest.mark.parametrize(
    "call",
    [
        "select loradex.register_task(repeat('x', 300), 'family', 'accuracy')",
        "select loradex.register_task('task', repeat('x', 300), 'accuracy')",
        "select loradex.register_task('task', 'family', 'accuracy', jsonb_build_object('x', repeat('x', 2000000)))",
        "select loradex.register_encoder(repeat('x', 300), 'r', 3)",
        "select loradex.register_encoder('e', repeat('x', 300), 3)",
        "select loradex.register_base_model(repeat('x', 300), 'r', 3)",
        "select loradex.register_base_model('b', repeat('x', 300), 3)",
        "select loradex.register_base_model('b', 'r', 3, '{prompt}' || repeat('x', 200000))",
        "select loradex.alias_base_model(repeat('x', 300), 'smollm2-135m-instruct')",
        "select loradex.describe_base_model('b', 'r', jsonb_build_object(repeat('x', 5000000), '[1, 2]'))",
        "select loradex.claim_jobs(repeat('x', 300), 1, '1s', 1)",
        "select loradex.claim_jobs('w', 100000, '1s', 1)",
        "select loradex.claim_jobs('w', 1, '2 hours', 1)",
        "select loradex.fail_job(gen_random_uuid(), 1, repeat('x', 300), 'why')",
    ],
)
def test_names_and_documents_have_bounds(scratch: World, call: str) -> None:
    with pytest.raises(psycopg.Error) as error:
        scratch.rows(call)
    assert error.value.sqlstate == "LX001", error.value


@pytest.mark.parametrize("names", ["array['apples', 'apples']", "array_fill('apples'::text, array[1001])"])
def test_a_list_of_names_is_distinct_and_bounded(scratch: World, names: str) -> None:
    query = "'[1,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]'"
    for call in (
        f"select loradex.nearest_examples({query}, exclude_tasks => {names})",
        f"select loradex.adapter_mixture({query}, 'smollm2-135m-instruct', exclude_tasks => {names})",
    ):
        with pytest.raises(psycopg.Error) as error, scratch.connection.transaction():
            scratch.rows(call)
        assert error.value.sqlstate == "LX001", error.value
