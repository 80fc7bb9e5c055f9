"""Jobs that end without an answer: cancelled by their owner, expired at their deadline."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb
from tests.fix_db import RoleUrl
from tests.until import until
from tests.world import World

from loradex.db.session import connect

FATE = "select state, error_code, cancelled_by, lease_until, finished_at is not null from loradex.jobs where id = %s"
WAITING_FOR = "select from pg_stat_activity where %s = any (pg_blocking_pids(pid))"
OUTCOME = "select state, error_code, error_message from loradex.job_outcome(%s)"


def cancel(world: World, *jobs: UUID) -> dict[UUID, str]:
    return dict(world.rows("select * from loradex.cancel_jobs(%s)", list(jobs)))


def told(listener: psycopg.Connection[Any], count: int) -> set[tuple[str, UUID]]:
    return {
        (notice.channel, UUID(notice.payload)) for notice in listener.notifies(timeout=5, stop_after=count)
    }


def test_of_a_job_that_ends_while_it_is_routed_no_vector_is_kept(world: World, database_url: str) -> None:
    (job,) = world.enqueue({})
    world.claim()
    query = world.near("boats")
    with connect(database_url) as other, connect(database_url) as watcher, ThreadPoolExecutor(1) as aside:
        with other.transaction():
            other.execute("select loradex.cancel_jobs(%s)", ([job],))
            # It began before the job's end was committed, and so cannot see it.
            routed = aside.submit(world.route, [job], [query])
            until(lambda: watcher.execute(WAITING_FOR, (other.info.backend_pid,)).fetchall())
        assert routed.result().keys() == {job}
        assert other.execute("select job_id from loradex.routings").fetchall() == []


def test_what_waits_and_what_runs_ends_at_once_and_all_are_told(world: World, database_url: str) -> None:
    running, waiting = world.enqueue({"priority": 1}, {})
    assert world.claim(rows=1) == {running: 1}
    routing = world.route([running], [world.near("boats")])[running]
    with connect(database_url) as listener:
        listener.execute("listen loradex_jobs")
        listener.execute("listen loradex_stop")
        assert cancel(world, waiting, running) == {waiting: "cancelled", running: "cancelled"}
        assert told(listener, 3) == {
            ("loradex_jobs", waiting),
            ("loradex_jobs", running),
            ("loradex_stop", running),
        }
    for job, was in ((waiting, "queued"), (running, "running")):
        me = world.value("select session_user::text")
        assert world.rows(FATE, job) == [("cancelled", "job_cancelled", me, None, True)]
        assert world.rows(OUTCOME, job) == [
            ("cancelled", "job_cancelled", f"{me} cancelled it while it was {was}")
        ]
    assert world.rows("select job_id from loradex.routings") == []
    assert world.claim() == {}
    for late in (
        lambda: world.record(running, 1, routing),
        lambda: world.rows("select loradex.fail_job(%s, 1, 'late', 'late')", running),
    ):
        with pytest.raises(psycopg.Error, match="the job is cancelled") as refused:
            late()
        assert refused.value.sqlstate == "LX006"
    assert world.rows("select cancelled_last_hour, failed_last_hour, queued from loradex.queue_health") == [
        (2, 0, 0)
    ]


def test_what_has_ended_stays_as_it_is(scratch: World) -> None:
    scratch.answered({})
    (done,) = scratch.rows("select id from loradex.jobs")[0]
    (waiting,) = scratch.enqueue({})
    assert cancel(scratch, done, waiting) == {done: "done", waiting: "cancelled"}
    before = scratch.rows(FATE, waiting)
    assert scratch.value("select loradex.cancel_job(%s)", waiting) == "cancelled"
    assert scratch.rows(FATE, waiting) == before
    assert cancel(scratch) == {}


def test_only_the_owner_and_an_administrator_may(world: World, role_url: RoleUrl) -> None:
    alice, bob = role_url("loradex_client", member=True), role_url("loradex_client", member=True)
    with connect(alice) as hers, connect(bob) as his, connect(role_url("loradex_admin")) as admin:
        mine, other = World(hers, world.centres, world.rng).enqueue({}, {})
        (theirs,) = World(his, world.centres, world.rng).enqueue({})
        for jobs in ([mine], [theirs, mine], [uuid4()], [None]):
            with pytest.raises(psycopg.Error, match="no job") as refused:
                his.execute("select loradex.cancel_jobs(%s)", (jobs,))
            assert refused.value.sqlstate == "LX003"
        assert {state for (state,) in world.rows("select state from loradex.jobs")} == {"queued"}
        assert hers.execute("select loradex.cancel_job(%s)", (mine,)).fetchone() == ("cancelled",)
        assert admin.execute("select loradex.cancel_job(%s)", (other,)).fetchone() == ("cancelled",)
    by = dict(world.rows("select id, cancelled_by = owner from loradex.jobs"))
    assert by == {mine: True, other: False, theirs: None}


@pytest.mark.parametrize("deadline", [0, -1, "soon", 1e9, [1]])
def test_a_bad_deadline_is_refused(scratch: World, deadline: Any) -> None:
    with pytest.raises(psycopg.Error, match="deadline") as refused:
        scratch.enqueue({"deadline": deadline})
    assert refused.value.sqlstate == "LX001"


def test_past_its_deadline_a_job_is_not_computed(scratch: World) -> None:
    late, patient = scratch.enqueue({"deadline": 0.5}, {"deadline": 3600})
    (created,) = scratch.rows("select created_at from loradex.jobs where id = %s", late)[0]
    claim = "select id from loradex.claim_jobs('w', 9, '10s', 3, %s)"
    scratch.rows("select 1 from loradex.jobs")
    assert scratch.rows(claim, created + timedelta(seconds=1)) == [(patient,)]
    assert scratch.rows(OUTCOME, late) == [
        ("expired", "job_expired", "it had no answer within its deadline of 0.5 s")
    ]
    assert scratch.rows("select expired_last_hour from loradex.queue_health") == [(1,)]
    assert cancel(scratch, late) == {late: "expired"}


def test_many_late_jobs_expire_in_portions_and_none_is_handed_out_or_fails(scratch: World) -> None:
    """What expire_jobs does not come to in one call waits for the next one, whether it waits, runs or was lost."""
    claim = "select id from loradex.claim_jobs('w', %s, '0.2s', 2, now() + make_interval(secs => %s))"
    twice, once = scratch.enqueue({"deadline": 1.5, "priority": 2}, {"deadline": 1.5, "priority": 1})
    assert scratch.rows(claim, 1, 0) == [(twice,)]
    assert {job for (job,) in scratch.rows(claim, 2, 0.5)} == {twice, once}
    scratch.enqueue(*[{"deadline": 1}] * 10_000)
    _, patient = scratch.enqueue({"deadline": 1.5}, {"deadline": 3600})
    late = "select count(*) from loradex.jobs where expires_at <= now() + interval '2 s'"
    assert scratch.value(late) == 10_003

    states = (
        "select state, count(*) from loradex.jobs where error_code is distinct from 'job_expired' group by 1"
    )
    assert scratch.rows(claim, 9, 2) == [(patient,)]
    assert dict(scratch.rows(states)) == {"queued": 1, "running": 3}
    assert [scratch.value("select loradex.expire_jobs(now() + interval '2 s')") for _ in range(2)] == [3, 0]
    assert dict(scratch.rows(states)) == {"running": 1}


def test_a_running_job_ends_at_its_deadline_and_its_worker_is_told(world: World, database_url: str) -> None:
    (job,) = world.enqueue({"deadline": 60})
    world.claim()
    with connect(database_url) as listener:
        listener.execute("listen loradex_jobs")
        listener.execute("listen loradex_stop")
        assert world.value("select loradex.expire_jobs()") == 0
        assert world.value("select loradex.expire_jobs(now() + interval '61 s')") == 1
        assert told(listener, 2) == {("loradex_jobs", job), ("loradex_stop", job)}
    assert world.rows(FATE, job) == [("expired", "job_expired", None, None, True)]


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("select jobs from loradex.erase_jobs('why', 'who', array[%s])", "erased"),
        ("select loradex.fail_job(%s, 1, 'broken', 'why')", "broken"),
        (
            "select loradex.claim_jobs('w2', 9, '10s', 1, lease_until) from loradex.jobs where id = %s",
            "too_many_attempts",
        ),
    ],
)
def test_a_running_job_that_fails_is_told_to_its_worker_too(
    world: World, database_url: str, end: str, code: str
) -> None:
    """Else it would go on with a job that was erased, or that counts as lost, until it looks by itself."""
    (job,) = world.enqueue({})
    world.claim()
    with connect(database_url) as listener:
        listener.execute("listen loradex_jobs")
        listener.execute("listen loradex_stop")
        world.rows(end, job)
        assert told(listener, 2) == {("loradex_jobs", job), ("loradex_stop", job)}
    assert world.rows(FATE, job) == [("failed", code, None, None, True)]


def test_a_waiting_job_past_its_deadline_is_told_as_expired_without_any_worker(scratch: World) -> None:
    (job,) = scratch.enqueue({"deadline": 60})
    assert scratch.rows(OUTCOME, job) == [("queued", None, None)]
    scratch.rows("update loradex.jobs set expires_at = now() - interval '1 second' returning 1")
    assert scratch.rows(OUTCOME, job)[0][:2] == ("expired", "job_expired")


def test_asking_again_is_the_same_if_the_deadline_is(scratch: World) -> None:
    job = {"prompt": "once", "idempotency_key": "7", "deadline": 60}
    assert scratch.enqueue(job) == scratch.enqueue(job)
    with pytest.raises(psycopg.Error) as refused:
        scratch.rows("select loradex.enqueue_jobs(%s)", Jsonb([job | {"deadline": 61}]))
    assert refused.value.sqlstate == "LX007"


def test_who_waits_is_told_why_nothing_moves(scratch: World) -> None:
    (job,) = scratch.enqueue({})
    assert "no living worker takes jobs of base model" in scratch.value(
        "select loradex.job_obstacle(%s)", job
    )
    scratch.rows(
        "select loradex.announce_worker('w', base_model, encoder, 'cpu', 'float32', '{}', 1, '{}') "
        "from loradex.jobs"
    )
    assert scratch.value("select loradex.job_obstacle(%s)", job) is None
