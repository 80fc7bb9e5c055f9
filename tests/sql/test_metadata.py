"""What askers note on their jobs: bounded, kept, found again; and the pages of one's own jobs."""

import re
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb
from tests.world import World

from loradex.db.session import connect


@pytest.mark.parametrize(
    ("metadata", "complaint"),
    [
        ("x", "object of texts"),
        ([], "object of texts"),
        (3, "object of texts"),
        ({"a": 1}, "write numbers as texts"),
        ({"a": None}, "write numbers as texts"),
        ({"a": {"b": "c"}}, "write numbers as texts"),
        ({"": "x"}, "1 to 64 characters"),
        ({" \n": "x"}, "1 to 64 characters"),
        ({"k" * 65: "x"}, "1 to 64 characters"),
        ({"a": "x" * 513}, "more than 512"),
        ({str(number): "x" for number in range(17)}, "17 pairs"),
        ({str(number): "x" * 100_000 for number in range(17)}, "too long"),
        ({str(number): "" for number in range(100_000)}, "too long"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_metadata_that_is_not_a_few_short_texts_is_refused(
    scratch: World, metadata: Any, complaint: str
) -> None:
    for call in ("enqueue_jobs(%s)", "own_jobs(only_metadata => %s)"):
        given = (
            Jsonb([{"prompt": "Is it warm?", "metadata": metadata}]) if "enqueue" in call else Jsonb(metadata)
        )
        with pytest.raises(psycopg.Error, match=complaint) as error, scratch.connection.transaction():
            scratch.rows(f"select * from loradex.{call}", given)
        assert error.value.sqlstate == "LX001"


def test_a_key_that_comes_twice_is_refused(scratch: World) -> None:
    """An object of jsonb has none, but the document is read as text."""
    twice = '[{"prompt": "Is it warm?", "metadata": {"a": "1", "a": "2"}}]'
    with pytest.raises(psycopg.Error, match="two keys") as error:
        scratch.rows("select * from loradex.enqueue_jobs(%s::text)", twice)
    assert error.value.sqlstate == "LX001"


def test_metadata_is_kept_and_found_in_sql(scratch: World) -> None:
    most = {f"{'k' * 60}{number:04}": "ü" * 512 for number in range(16)}
    one, _, full, none = scratch.enqueue(
        {"metadata": {"customer": "7", "line": "größer"}},
        {"metadata": {"customer": "8"}},
        {"metadata": most},
        {"metadata": None},
    )
    found = scratch.rows("""select id from loradex.jobs where metadata @> '{"customer": "7"}'""")
    assert found == [(one,)]
    assert scratch.value("select metadata from loradex.jobs where id = %s", full) == most
    assert scratch.value("select metadata from loradex.jobs where id = %s", none) is None
    assert not scratch.value("select settings ? 'metadata' from loradex.jobs where id = %s", one)


def test_a_key_used_again_with_other_metadata_is_another_request(scratch: World) -> None:
    asked = {"idempotency_key": "1", "metadata": {"customer": "7"}}
    assert scratch.enqueue(asked) == scratch.enqueue(asked)
    with pytest.raises(psycopg.Error) as error:
        scratch.enqueue({**asked, "metadata": {"customer": "8"}})
    assert error.value.sqlstate == "LX007"


def pages(world: World, size: int, **only: Any) -> list[tuple[Any, ...]]:
    """All pages of one's own jobs, one after the other: id and state."""
    found: list[tuple[Any, ...]] = []
    while True:
        page = world.rows(
            "select job_id, state from loradex.own_jobs(%s, %s, %s, %s)",
            *(only.get("state"), Jsonb(only["metadata"]) if "metadata" in only else None),
            *(size, found[-1][0] if found else None),
        )
        found += page
        if len(page) < size:
            return found


def test_pages_hold_every_job_of_its_owner_once_newest_first(
    world: World, role_url: Callable[..., str]
) -> None:
    others = world.enqueue({}, {})
    with connect(role_url("loradex_client", member=True)) as connection:
        asker = World(connection, world.centres, world.rng)
        mine = [
            *asker.enqueue(*({"metadata": {"batch": "1", "n": str(number)}} for number in range(7))),
            *asker.enqueue({}),
            *asker.enqueue(*({"metadata": {"batch": "2"}} for _ in range(5))),
        ]
        world.claim(rows=4)  # two of them are the other's
        for size in (1, 3, 100):
            listed = [job for job, _ in pages(asker, size)]
            assert sorted(listed) == sorted(mine), size
            assert set(listed[:5]) == set(mine[8:])
            assert listed[5] == mine[7]
        assert {job for job, _ in pages(asker, 2, metadata={"batch": "1"})} == set(mine[:7])
        assert pages(asker, 2, metadata={"batch": "1", "n": "3"}) == [(mine[3], "queued")]
        assert {job for job, _ in pages(asker, 2, state="running")} == set(mine[:2])
        for after in (others[0], "0198c5f2-6d3e-7c41-9a55-0c1d2e3f4a5b"):
            with pytest.raises(psycopg.Error) as error:
                asker.rows("select * from loradex.own_jobs(after_job => %s)", after)
            assert error.value.sqlstate == "LX003"
        ((metadata, created),) = asker.rows(
            "select metadata, created_at is not null from loradex.own_jobs(max_jobs => 1)"
        )
        assert (metadata, created) == ({"batch": "2"}, True)


@pytest.mark.parametrize("call", ["'lost'", "max_jobs => 0", "max_jobs => 1001", "max_jobs => null"])
def test_a_page_that_cannot_be_is_refused(scratch: World, call: str) -> None:
    with pytest.raises(psycopg.Error) as error:
        scratch.rows(f"select * from loradex.own_jobs({call})")
    assert error.value.sqlstate == "LX001"


def test_every_state_of_a_job_can_be_listed(scratch: World) -> None:
    allowed = scratch.value(
        "select pg_get_constraintdef(oid) from pg_constraint where conname = 'jobs_state_check'"
    )
    states = re.findall(r"'(\w+)'", allowed)
    assert {"queued", "done"} <= set(states)
    for state in states:
        assert scratch.rows("select * from loradex.own_jobs(%s)", state) == []


def test_workers_are_told_at_the_commit_and_once(world: World, database_url: str) -> None:
    with connect(database_url) as worker:
        worker.execute("listen loradex_work")
        with world.connection.transaction():
            world.enqueue({}, {})
            world.enqueue({"idempotency_key": "1"})
            assert list(worker.notifies(timeout=0.1)) == []
        told = list(worker.notifies(timeout=2, stop_after=1))
        assert [(one.channel, one.payload) for one in told] == [("loradex_work", "")]
        world.enqueue({"idempotency_key": "1"})
        assert list(worker.notifies(timeout=0.1)) == []
