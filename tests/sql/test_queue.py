"""The queue: enqueue, claim, fence, fail, release, leases, limits."""

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, get_args
from uuid import uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Json, Jsonb
from tests.fix_db import with_user
from tests.fix_many import rows_read
from tests.world import BASE_MODEL, World

from loradex.db.session import connect
from loradex.service.client.outcome import Status

NOW = datetime(2030, 1, 1, tzinfo=UTC)
CLAIM = "select id, attempt from loradex.claim_jobs(%s, %s, '10s', 3, %s)"


def refused(world: World, job: Any) -> str | None:
    """SQLSTATE with which the job is refused, after making sure that nothing was written."""
    with pytest.raises(psycopg.Error) as error, world.connection.transaction():
        world.rows("select * from loradex.enqueue_jobs(%s)", Jsonb([{"prompt": "fine"}, job]))
    assert world.value("select count(*) from loradex.jobs") == 0
    assert "job 2" in str(error.value) or error.value.sqlstate != "LX001"
    return error.value.sqlstate


OWN = {"prompt": "q", "method": "own", "adapter": "boats-lora"}
BAD_JOBS: list[tuple[Any, str]] = [
    ({}, "LX001"),
    ({"prompt": ""}, "LX001"),
    ({"prompt": " \n\t"}, "LX001"),
    ({"prompt": None}, "LX001"),
    ({"prompt": 7}, "LX001"),
    ({"prompt": "x" * 100_001}, "LX001"),
    ("text", "LX001"),
    (None, "LX001"),
    ([], "LX001"),
    ({"prompt": "q", "colour": "red"}, "LX001"),
    ({"prompt": "q", "owner": "someone"}, "LX001"),
    ({"prompt": "q", "state": "done"}, "LX001"),
    ({"prompt": "q", "id": "8c5f2a1e-0000-4000-8000-000000000000"}, "LX001"),
    ({"prompt": "q", "kind": "sing"}, "LX001"),
    ({"prompt": "q", "kind": "choose"}, "LX001"),
    ({"prompt": "q", "kind": "generate", "choices": ["a", "b"]}, "LX001"),
    ({"prompt": "q", "choices": []}, "LX001"),
    ({"prompt": "q", "choices": ["a"]}, "LX001"),
    ({"prompt": "q", "choices": ["a", "a"]}, "LX001"),
    ({"prompt": "q", "choices": ["a", " a "]}, "LX001"),
    ({"prompt": "q", "choices": ["a", ""]}, "LX001"),
    ({"prompt": "q", "choices": ["a", None]}, "LX001"),
    ({"prompt": "q", "choices": "a,b"}, "LX001"),
    ({"prompt": "q", "choices": [str(n) for n in range(257)]}, "LX001"),
    *[({"prompt": "q", "k": value}, "LX001") for value in (0, -1, 1001, 1.5, "3", True, 10**12)],
    *[({"prompt": "q", "top_p": value}, "LX001") for value in (0, -0.1, 1.01, "0.9", 1e-320)],
    *[({"prompt": "q", "temperature": value}, "LX001") for value in (0, -1, [1])],
    *[({"prompt": "q", "density": value}, "LX001") for value in (0, 1.1)],
    *[({"prompt": "q", "max_new_tokens": value}, "LX001") for value in (0, 2049)],
    *[({"prompt": "q", "sampling_temperature": value}, "LX001") for value in (-1, 101)],
    *[({"prompt": "q", "sampling_top_p": value}, "LX001") for value in (0, 2)],
    *[({"prompt": "q", "seed": value}, "LX001") for value in (-1, 1 << 63, 0.5)],
    *[({"prompt": "q", "priority": value}, "LX001") for value in (32768, 0.5)],
    ({"prompt": "q", "normalization": "words"}, "LX001"),
    ({"prompt": "q", "method": "own"}, "LX001"),
    (OWN | {"exclude_adapters": ["apples-lora", "boats-lora"]}, "LX001"),
    ({"prompt": "q", "method": "cat", "adapter": "boats-lora"}, "LX001"),
    ({"prompt": "q", "idempotency_key": ""}, "LX001"),
    ({"prompt": "q", "idempotency_key": "k" * 201}, "LX001"),
    ({"prompt": "q", "method": "stir"}, "LX002"),
    ({"prompt": "q", "method": "own", "adapter": "nobody"}, "LX002"),
    ({"prompt": "q", "base_model": "nobody"}, "LX002"),
    ({"prompt": "q", "encoder": "nobody"}, "LX002"),
    ({"prompt": "q", "expected_task": "nowhere"}, "LX002"),
    ({"prompt": "q", "exclude_tasks": ["nowhere"]}, "LX002"),
    ({"prompt": "q", "exclude_adapters": ["nobody"]}, "LX002"),
]


@pytest.mark.parametrize(("job", "sqlstate"), BAD_JOBS)
def test_a_bad_job_is_refused_with_its_whole_batch(scratch: World, job: Any, sqlstate: str) -> None:
    assert refused(scratch, job) == sqlstate


def test_an_adapter_that_is_excluded_by_default_cannot_be_named(scratch: World) -> None:
    scratch.rows("""select loradex.change_setting('exclude_adapters', '["boats-lora"]')""")
    with (
        pytest.raises(psycopg.Error, match="is one of exclude_adapters"),
        scratch.connection.transaction(),
    ):
        scratch.enqueue(OWN)
    assert len(scratch.enqueue(OWN | {"exclude_adapters": []}, OWN | {"adapter": "apples-lora"}, {})) == 3


@pytest.mark.parametrize("jobs", [None, {}, "x", 3, {"prompt": "q"}])
def test_what_is_no_array_is_refused(scratch: World, jobs: Any) -> None:
    with pytest.raises(psycopg.Error) as error:
        scratch.rows("select * from loradex.enqueue_jobs(%s)", None if jobs is None else Jsonb(jobs))
    assert error.value.sqlstate == "LX001"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
).filter(
    lambda value: "\\u0000" not in repr(value) and "\\x00" not in repr(value) and "\\ud" not in repr(value)
)
FIELDS = st.sampled_from(
    [
        "kind",
        "prompt",
        "choices",
        "base_model",
        "encoder",
        "method",
        "adapter",
        "k",
        "top_p",
        "temperature",
        "density",
        "exclude_tasks",
        "exclude_adapters",
        "normalization",
        "max_new_tokens",
        "sampling_temperature",
        "sampling_top_p",
        "seed",
        "expected_task",
        "idempotency_key",
        "priority",
        "metadata",
        "owner",
        "state",
    ]
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(job=st.dictionaries(FIELDS, JSON, max_size=5) | JSON)
def test_no_json_gets_past_the_typed_errors(scratch: World, job: Any) -> None:
    state = None
    try:
        with scratch.connection.transaction():
            scratch.rows("select * from loradex.enqueue_jobs(%s)", Jsonb([job]))
    except psycopg.Error as error:
        state = error.sqlstate
    assert state is None or state.startswith("LX"), state


def test_an_empty_array_is_no_error(scratch: World) -> None:
    assert scratch.rows("select * from loradex.enqueue_jobs('[]')") == []


def test_defaults(scratch: World) -> None:
    (job,) = scratch.enqueue({})
    assert scratch.rows(
        """
        select kind, base_model, encoder, method, k, top_p, temperature, exclude_tasks, exclude_adapters,
               settings ->> 'normalization', (settings ->> 'sampling_temperature')::float8, state,
               attempt, priority, owner = session_user
        from loradex.jobs where id = %s
        """,
        job,
    ) == [
        (
            *(
                "generate",
                "smollm2-135m-instruct",
                "all-MiniLM-L6-v2",
                "affinity_calibrated_cat",
                32,
                0.9,
                0.1,
                [],
                [],
            ),
            *("tokens", 0.0, "queued", 0, 0, True),
        )
    ]


def test_a_null_field_is_one_that_was_left_out(scratch: World) -> None:
    (job,) = scratch.enqueue({"k": None, "choices": None, "seed": None})
    assert scratch.rows("select kind, k, settings -> 'seed' from loradex.jobs where id = %s", job) == [
        ("generate", 32, None)
    ]


def test_ids_come_in_the_order_of_the_jobs(scratch: World) -> None:
    ids = scratch.enqueue(*({"prompt": f"question {number}"} for number in range(50)))
    prompts = dict(scratch.rows("select id, prompt from loradex.jobs"))
    assert [prompts[job] for job in ids] == [f"question {number}" for number in range(50)]


def test_an_idempotency_key_gives_the_older_job(scratch: World) -> None:
    job = {"prompt": "once", "idempotency_key": "7", "top_p": 0.5}
    call = "select job_id, created from loradex.enqueue_jobs(%s) order by ordinal"
    ((first, created),) = scratch.rows(call, Jsonb([job]))
    assert created
    again = scratch.rows(call, Jsonb([{"prompt": "new"}, job, job]))
    assert [row[1] for row in again] == [True, False, False]
    assert [row[0] for row in again[1:]] == [first, first]
    twice = scratch.rows(call, Jsonb([{"prompt": "twin", "idempotency_key": "8"}] * 2))
    assert [row[1] for row in twice] == [True, False]
    assert twice[0][0] == twice[1][0]


@pytest.mark.parametrize("change", [{"prompt": "other"}, {"k": 3}, {"choices": ["a", "b"]}, {"priority": 1}])
def test_a_key_is_not_used_for_two_questions(scratch: World, change: dict[str, Any]) -> None:
    job = {"prompt": "once", "idempotency_key": "7"}
    scratch.enqueue(job)
    with pytest.raises(psycopg.Error, match="new key") as error:
        scratch.enqueue(job | change)
    assert error.value.sqlstate == "LX007"


def test_the_same_words_are_the_same_job_whatever_the_defaults_are_by_then(scratch: World) -> None:
    """A retry has no part in what an operator changes meanwhile; words that were changed are another request."""
    job = {"prompt": "once", "idempotency_key": "7", "top_p": 0.5}
    (first,) = scratch.enqueue(job)
    scratch.rows("select loradex.change_setting('k', '5')")
    scratch.rows("select loradex.set_generation_defaults(%s, %s)", BASE_MODEL, Jsonb({"sampling_top_p": 0.8}))
    assert scratch.enqueue(job) == [first]
    assert scratch.enqueue(job | {"stream": True}, {key: job[key] for key in reversed(job)}) == [first, first]
    for other in (job | {"prompt": "other"}, job | {"top_p": 0.9}, {**job, "top_p": None}, job | {"k": 5}):
        with pytest.raises(psycopg.Error, match="new key") as error, scratch.connection.transaction():
            scratch.enqueue(other)
        assert error.value.sqlstate == "LX007"
    # What is said as it was completed then is no other request either.
    (scoped,) = scratch.enqueue({"prompt": "twice", "idempotency_key": "8"})
    assert scratch.enqueue({"prompt": "twice", "idempotency_key": "8", "k": 5}) == [scoped]


def test_two_callers_with_one_key_get_one_job(world: World, database_url: str) -> None:
    world.enqueue({})
    job = {"prompt": "once", "idempotency_key": "7"}
    call = "select job_id, created from loradex.enqueue_jobs(%s)"
    with connect(database_url) as other:
        with world.connection.transaction():
            ((mine, created),) = world.rows(call, Jsonb([job]))
            assert created
            pipeline = other.execute("set lock_timeout = '200ms'")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                pipeline.connection.execute(call, (Jsonb([job]),))
        assert other.execute(call, (Jsonb([job]),)).fetchall() == [(mine, False)]


def test_a_full_queue_refuses(scratch: World) -> None:
    scratch.rows("select loradex.change_setting('max_waiting_jobs', '3')")
    scratch.enqueue({}, {})
    with pytest.raises(psycopg.Error, match="try again later") as error, scratch.connection.transaction():
        scratch.enqueue({}, {})
    assert error.value.sqlstate == "LX008"
    assert scratch.value("select count(*) from loradex.jobs") == 2
    scratch.enqueue({})
    scratch.claim(rows=1)
    scratch.enqueue({})


def test_a_full_queue_takes_what_it_took_before(scratch: World) -> None:
    """A client that lost the reply asks again, with the same key."""
    scratch.rows("select loradex.change_setting('max_waiting_jobs', '3')")
    asked = [{"prompt": f"{number}?", "idempotency_key": str(number)} for number in range(3)]
    jobs = scratch.enqueue(*asked)
    assert scratch.enqueue(*asked) == jobs
    assert scratch.enqueue(asked[2], asked[0]) == [jobs[2], jobs[0]]
    for more in ({"idempotency_key": "3"}, {}):
        with pytest.raises(psycopg.Error, match="try again later") as error, scratch.connection.transaction():
            scratch.enqueue(*asked, more)
        assert error.value.sqlstate == "LX008"
    with pytest.raises(psycopg.Error, match="new key"), scratch.connection.transaction():
        scratch.enqueue(asked[0] | {"prompt": "other?"})
    (free,) = scratch.claim(rows=1)
    new = {"prompt": "3?", "idempotency_key": "3"}
    assert scratch.enqueue(*asked, new)[:3] == jobs
    assert free in jobs
    assert scratch.value("select count(*) from loradex.jobs where state = 'queued'") == 3


@pytest.mark.parametrize(("brim", "at_once"), [(100, 1), (100, 7), (1400, 7)])
def test_many_callers_fill_the_queue_to_the_brim_and_not_beyond(
    world: World, database_url: str, brim: int, at_once: int
) -> None:
    """The third queue is so large that calls share its lock at first."""
    callers = 12
    world.rows("select loradex.change_setting('max_waiting_jobs', to_jsonb(%s::int))", brim)
    start = threading.Barrier(callers)

    def fill(caller: int) -> tuple[int, bool]:
        with connect(database_url) as connection:
            mine = World(connection, world.centres, world.rng)
            accepted = 0
            start.wait()
            while accepted <= brim:
                try:
                    accepted += len(mine.enqueue(*({"prompt": f"{caller} {one}?"} for one in range(at_once))))
                except psycopg.Error as error:
                    return accepted, error.sqlstate == "LX008"
        return accepted, False

    with ThreadPoolExecutor(callers) as pool:
        results = list(pool.map(fill, range(callers)))

    assert all(refused for _, refused in results)
    accepted = sum(count for count, _ in results)
    assert accepted == world.value("select count(*) from loradex.jobs where state = 'queued'")
    assert brim - at_once < accepted <= brim


def test_who_holds_the_nearly_full_queue_does_not_hold_the_others_for_long(
    world: World, database_url: str
) -> None:
    world.rows("select loradex.change_setting('max_waiting_jobs', '5')")
    old = {"prompt": "before?", "idempotency_key": "1"}
    mine = world.enqueue(old)
    with connect(database_url) as holder, holder.transaction():
        World(holder, world.centres, world.rng).enqueue(*[{}] * 3)
        before = world.value("select current_setting('lock_timeout')")
        with pytest.raises(psycopg.Error, match="has not committed for 5 s") as refused:
            world.enqueue(*[{}] * 3)
        assert refused.value.sqlstate == "LX008"
        # What was accepted before needs no place, and so nobody who counts.
        assert world.enqueue(old) == mine
    assert world.value("select current_setting('lock_timeout')") == before
    world.enqueue({})
    assert world.value("select current_setting('lock_timeout')") == before


def test_too_many_jobs_in_one_call(scratch: World) -> None:
    scratch.rows("select loradex.change_setting('max_jobs_per_call', '2')")
    with pytest.raises(psycopg.Error, match="at most 2") as error:
        scratch.enqueue({}, {}, {})
    assert error.value.sqlstate == "LX001"


def test_urgent_jobs_are_those_above_the_default(scratch: World) -> None:
    _, one, nine, _ = scratch.enqueue({}, {"priority": 1}, {"priority": 9}, {"priority": -1})
    claim = "select id from loradex.claim_jobs('w', 9, '10s', 3, only_urgent => true)"
    assert {row[0] for row in scratch.rows(claim)} == {one, nine}
    assert scratch.rows(claim) == []


def test_priority_then_arrival(scratch: World) -> None:
    late, high, low = scratch.enqueue({"priority": 0}, {"priority": 5}, {"priority": -5})
    (also_late,) = scratch.enqueue({})
    order = [next(iter(scratch.claim(rows=1))) for _ in range(4)]
    assert order == [high, late, also_late, low]


def test_owners_who_wait_take_turns(world: World, database_url: str) -> None:
    """Who handed in many jobs first does not keep later ones waiting for all of them."""
    mine = world.enqueue(*[{}] * 6)
    with connect(with_user(database_url, "loradex_client")) as other:
        enqueue = "select job_id from loradex.enqueue_jobs(%s)"
        theirs = [row[0] for row in other.execute(enqueue, (Jsonb([{"prompt": "q"}] * 2),)).fetchall()]
        assert [next(iter(world.claim(rows=1))) for _ in range(3)] == [mine[0], theirs[0], mine[1]]
        # Whoever has been served begins again where the others are, and owes nothing.
        more = [row[0] for row in other.execute(enqueue, (Jsonb([{"prompt": "q"}] * 2),)).fetchall()]
    (urgent,) = world.enqueue({"priority": 1})
    order = [next(iter(world.claim(rows=1))) for _ in range(8)]
    assert order[0] == urgent
    assert [job for job in order if job in mine] == mine[2:]
    assert [job for job in order if job in (*theirs, *more)] == [theirs[1], *more]
    assert {order.index(theirs[1]), order.index(more[0])} <= {1, 2, 3, 4}


def test_turns_are_those_of_jobs_that_are_served_one_after_the_other(world: World, database_url: str) -> None:
    """A job that nobody takes does not let later owners go first, nor do low priorities put off high ones."""
    world.rows("select loradex.register_base_model('other', 'r1', 512)")
    parked = world.enqueue({"base_model": "other", "priority": 9}, {"base_model": "other"})
    mine = world.enqueue(*[{}] * 6)
    served = f"select id from loradex.claim_jobs('w', %s, '10s', 3, only_base_model => '{BASE_MODEL}')"
    assert [world.value(served, 1) for _ in range(3)] == mine[:3]
    with connect(with_user(database_url, "loradex_client")) as other:
        enqueue = "select job_id from loradex.enqueue_jobs(%s)"
        theirs = [row[0] for row in other.execute(enqueue, (Jsonb([{"prompt": "q"}] * 4),)).fetchall()]
        low = world.enqueue(*[{"priority": -1}] * 9)
        asked = Jsonb([{"prompt": "q", "priority": -2}, *[{"prompt": "q", "priority": 1}] * 2])
        lower, *urgent = [row[0] for row in other.execute(enqueue, (asked,)).fetchall()]
    (mine_too,) = world.enqueue({"priority": 1})
    order = [world.value(served, 1) for _ in range(20)]
    assert order[:3] == [urgent[0], mine_too, urgent[1]]
    assert order[3:10] == [mine[3], theirs[0], mine[4], theirs[1], mine[5], *theirs[2:]]
    assert order[10:] == [*low, lower]
    assert set(world.claim()) == set(parked)


def test_two_workers_never_get_the_same_job(world: World, database_url: str) -> None:
    ids = set(world.enqueue(*[{}] * 10))
    with connect(database_url) as other, world.connection.transaction():
        mine = set(world.claim("w1", rows=6))
        # w1 has not committed: its rows are locked, and w2 does not wait for them.
        theirs = {row[0] for row in other.execute(CLAIM, ("w2", 10, NOW)).fetchall()}
    assert len(mine) == 6
    assert mine | theirs == ids
    assert not mine & theirs


def test_a_lease_that_ran_out_is_claimed_with_the_next_attempt(scratch: World) -> None:
    (job,) = scratch.enqueue({})
    assert scratch.rows(CLAIM, "w1", 5, NOW) == [(job, 1)]
    assert scratch.rows(CLAIM, "w2", 5, NOW + timedelta(seconds=9)) == []
    assert scratch.rows(CLAIM, "w2", 5, NOW + timedelta(seconds=11)) == [(job, 2)]
    assert scratch.value("select worker from loradex.jobs") == "w2"


def test_an_extended_lease_holds(scratch: World) -> None:
    (job,) = scratch.enqueue({})
    scratch.rows(CLAIM, "w1", 5, NOW)
    later = NOW + timedelta(seconds=8)
    assert scratch.value("select loradex.extend_lease('w2', %s, '10s', %s)", [job], later) == 0
    assert scratch.value("select loradex.extend_lease('w1', %s, '10s', %s)", [job], later) == 1
    assert scratch.rows(CLAIM, "w2", 5, NOW + timedelta(seconds=11)) == []


def test_a_poison_job_fails_and_leaves_its_batch_alone(scratch: World) -> None:
    poison, other = scratch.enqueue({}, {})
    for attempt in range(1, 4):
        claimed = dict(scratch.rows(CLAIM, "w1", 1, NOW + timedelta(minutes=attempt)))
        assert claimed == {poison: attempt}
    assert scratch.rows(CLAIM, "w1", 5, NOW + timedelta(minutes=9)) == [(other, 1)]
    ((state, code, message),) = scratch.rows(
        "select state, error_code, error_message from loradex.jobs where id = %s", poison
    )
    assert (state, code) == ("failed", "too_many_attempts")
    assert "lost 3 times" in message


def test_released_jobs_wait_again_without_blame(scratch: World) -> None:
    (job,) = scratch.enqueue({})
    for attempt in range(1, 7):
        assert scratch.claim("w1") == {job: attempt}
        assert scratch.value("select loradex.release_jobs('w2', %s)", [job]) == 0
        assert scratch.value("select loradex.release_jobs('w1', %s)", [job]) == 1
    assert scratch.claim("w1") == {job: 7}


@pytest.mark.parametrize("ring", [True, False])
def test_workers_hear_of_released_jobs_where_that_is_wanted(
    world: World, database_url: str, ring: bool
) -> None:
    (job,) = world.enqueue({})
    world.claim()
    with connect(database_url) as listener:
        listener.execute("listen loradex_work")
        assert world.value("select loradex.release_jobs('w1', %s, null, %s)", [job], ring) == 1
        told = [one.channel for one in listener.notifies(timeout=0.5, stop_after=1)]
        assert told == ["loradex_work"] * ring


def test_a_failure_is_recorded_once_and_told(world: World, database_url: str) -> None:
    (job,) = world.enqueue({})
    world.claim()
    with connect(database_url) as listener:
        listener.execute("listen loradex_jobs")
        world.rows("select loradex.fail_job(%s, 1, 'internal', 'it broke')", job)
        assert [notice.payload for notice in listener.notifies(timeout=5, stop_after=1)] == [str(job)]
    assert world.rows("select state, error_code, error_message, lease_until from loradex.jobs") == [
        ("failed", "internal", "it broke", None)
    ]
    with pytest.raises(psycopg.Error) as error:
        world.rows("select loradex.fail_job(%s, 1, 'internal', 'again')", job)
    assert error.value.sqlstate == "LX006"


def test_jobs_that_wait_for_long_are_listed(scratch: World) -> None:
    old, running = scratch.enqueue({"priority": -1}, {})
    scratch.rows(CLAIM, "w1", 1, NOW)
    look = "select * from loradex.waiting_jobs('5s', 100, %s)"
    created = scratch.value("select created_at from loradex.jobs where id = %s", old)
    assert scratch.rows(look, created + timedelta(seconds=4)) == []
    assert scratch.rows(look, created + timedelta(seconds=6)) == [(old,)]
    assert set(scratch.rows(look, NOW + timedelta(minutes=1))) == {(old,), (running,)}


def test_only_the_asked_models_jobs(scratch: World) -> None:
    scratch.rows("select loradex.register_base_model('other', 'r', 99)")
    theirs, ours = scratch.enqueue({"base_model": "other"}, {})
    call = "select id from loradex.claim_jobs('w', 9, '10s', 3, now(), 'smollm2-135m-instruct')"
    assert scratch.rows(call) == [(ours,)]
    assert list(scratch.claim()) == [theirs]


def test_the_states_of_a_job_are_the_same_wherever_they_are_named(scratch: World) -> None:
    """In the check of the table, in what own_jobs takes and says, and in the client's type."""
    check = scratch.value(
        "select pg_get_constraintdef(oid) from pg_constraint "
        "where conrelid = 'loradex.jobs'::regclass and conname = 'jobs_state_check'"
    )
    with pytest.raises(psycopg.Error) as refused, scratch.connection.transaction():
        scratch.rows("select loradex.own_jobs('lost')")
    said = str(refused.value.diag.message_primary).partition("a job is one of ")[2].split(", ")
    assert sorted(re.findall(r"'(\w+)'", check)) == sorted(said) == sorted(get_args(Status))
    for state in said:
        assert scratch.rows("select * from loradex.own_jobs(%s)", state) == []


def test_claiming_and_turns_use_the_indexes_of_the_queue(scratch: World) -> None:
    scratch.rows(
        "insert into loradex.owners (id, name, role) overriding system value values (1, 'x', 1) returning 1"
    )
    scratch.rows(
        """
        with many as (
            insert into loradex.jobs (owner_id, owner, kind, prompt, base_model, encoder, method, k, top_p, temperature,
                exclude_tasks, exclude_adapters, settings, turn, state, finished_at)
            select 1, 'x', 'generate', 'p', 'smollm2-135m-instruct', 'all-MiniLM-L6-v2', 'cat', 1, 1, 1,
                   '{}', '{}', '{}', n, case when n <= 10000 then 'done' else 'queued' end, now()
            from generate_series(1, 20100) n returning 1
        ) select count(*) from many
        """
    )
    scratch.rows("select 1")
    scratch.connection.execute("analyze loradex.jobs")
    plan = "\n".join(
        row[0]
        for row in scratch.rows(
            "explain select id from loradex.jobs where state = 'queued' "
            "order by priority desc, turn, queue_position limit 64 for update skip locked"
        )
    )
    assert "jobs_queued_index" in plan
    assert "Sort" not in plan
    asked = [{}, {"priority": 1}, {}]
    defaults = {"base_model": BASE_MODEL, "encoder": "all-MiniLM-L6-v2", "priority": 0}
    for owner, turns in ((1, [20101, 1, 20102]), (2, [10001, 1, 10002])):
        call = f"select unnest(loradex.next_turns(%s, {owner}, %s))"
        with scratch.connection.transaction():
            assert [row[0] for row in scratch.rows(call, Json(asked), Jsonb(defaults))] == turns
            scanned, read = rows_read(scratch, call, Json(asked), Jsonb(defaults))
        assert scanned["jobs"] == 0
        assert read["jobs"] <= 10


def test_unknown_jobs_are_unknown(scratch: World) -> None:
    with pytest.raises(psycopg.Error) as error:
        scratch.rows("select loradex.fail_job(%s, 1, 'x', 'y')", uuid4())
    assert error.value.sqlstate == "LX003"
