"""What a stolen login of a worker can do to jobs that others have claimed: nothing, and to its own not for ever."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.types.json import Jsonb
from tests.fix_db import RoleUrl
from tests.world import World, text_of

from loradex.db.session import connect

NOW = datetime(2030, 1, 1, tzinfo=UTC)
TOKEN, OTHER = "a" * 32, "b" * 32
CLAIM = "select id, attempt from loradex.claim_jobs('w1', 9, %s, 100, %s, token => %s)"
HELD = "select state, error_code from loradex.jobs where id = %s"

Call = Callable[[World, UUID, str | None], Any]


def route(world: World, job: UUID, token: str | None) -> Any:
    return world.rows(
        "select routing from loradex.route_jobs(%s, %s::vector[], %s)",
        [job],
        [text_of(world.near("clouds"))],
        token,
    )


WRITES: dict[str, Call] = {
    "fail_job": lambda world, job, token: world.rows(
        "select loradex.fail_job(%s, 1, 'stolen', 'ended', token => %s)", job, token
    ),
    "record_answer": lambda world, job, token: world.rows(
        "select loradex.record_answer(%s, 1, %s, %s)", job, Jsonb({"text": "forged"}), token
    ),
}
LEAVES_ALONE: dict[str, Call] = {
    "extend_lease": lambda world, job, token: world.value(
        "select loradex.extend_lease('w1', %s, '1 hour', token => %s)", [job], token
    ),
    "release_jobs": lambda world, job, token: world.value(
        "select loradex.release_jobs('w1', %s, %s)", [job], token
    ),
}


def assert_kept_out(world: World, thief: World, job: UUID, token: str | None) -> None:
    """The job is another's: every write of the thief is refused or changes nothing."""
    before = world.rows("select * from loradex.jobs"), world.rows("select * from loradex.routings")
    for write in WRITES.values():
        with pytest.raises(psycopg.Error, match="another login or with another token") as refused:
            write(thief, job, token)
        assert refused.value.sqlstate == "LX006"
    for call in LEAVES_ALONE.values():
        assert call(thief, job, token) == 0
    route(thief, job, token)
    assert (world.rows("select * from loradex.jobs"), world.rows("select * from loradex.routings")) == before


def test_a_claim_is_its_logins_and_its_tokens(world: World, role_url: RoleUrl) -> None:
    (job,) = world.enqueue({})
    with (
        connect(role_url("loradex_worker", member=True)) as mine,
        connect(role_url("loradex_worker", member=True)) as theirs,
    ):
        owner, thief = (World(one, world.centres, world.rng) for one in (mine, theirs))
        claim = "select id from loradex.claim_jobs('w1', 9, '1 minute', 3, token => %s)"
        assert owner.rows(claim, TOKEN) == [(job,)]
        # The same login with the password alone, and another login that even knows the token.
        assert_kept_out(world, owner, job, None)
        assert_kept_out(world, owner, job, OTHER)
        assert_kept_out(world, thief, job, TOKEN)
        assert LEAVES_ALONE["extend_lease"](owner, job, TOKEN) == 1
        (routing,) = route(owner, job, TOKEN)[0]
        document = owner.said(job, routing)
        assert owner.value("select loradex.record_answer(%s, 1, %s, %s)", job, Jsonb(document), TOKEN)
    assert world.value("select task from loradex.retrieved_tasks where rank = 1") == "clouds"


def test_a_claim_without_a_token_is_its_logins(world: World, role_url: RoleUrl) -> None:
    (job,) = world.enqueue({})
    world.claim("w1")
    with connect(role_url("loradex_worker", member=True)) as connection:
        assert_kept_out(world, World(connection, world.centres, world.rng), job, None)
    assert LEAVES_ALONE["release_jobs"](world, job, None) == 1


def test_no_worker_claims_under_the_name_of_another(scratch: World) -> None:
    scratch.enqueue({})
    scratch.rows("select loradex.announce_worker('w1', 'b', 'e', 'cpu', 'float32', '{}', 1, '{}', %s)", TOKEN)
    with pytest.raises(psycopg.Error, match="name of its own") as refused, scratch.connection.transaction():
        scratch.rows(CLAIM, "10s", NOW, OTHER)
    assert refused.value.sqlstate == "LX001"
    assert len(scratch.rows(CLAIM, "10s", NOW, TOKEN)) == 1


@pytest.mark.parametrize("token", ["", "short", "x" * 201])
def test_a_token_is_long_enough_to_be_one(scratch: World, token: str) -> None:
    with pytest.raises(psycopg.Error, match="32 to 200") as refused:
        scratch.rows(CLAIM, "10s", NOW, token)
    assert refused.value.sqlstate == "LX001"


@pytest.fixture
def an_hour(scratch: World) -> World:
    """Workers may hold a job for an hour altogether."""
    scratch.rows("select loradex.change_setting('max_held_seconds', '3600')")
    return scratch


def test_no_lease_goes_beyond_the_longest_hold(an_hour: World) -> None:
    (job,) = an_hour.enqueue({})
    extend = "select loradex.extend_lease('w1', %s, '50 minutes', %s, %s)"
    an_hour.rows(CLAIM, "50 minutes", NOW, TOKEN)
    assert an_hour.value(extend, [job], NOW + timedelta(minutes=49), TOKEN) == 1
    assert an_hour.value("select lease_until from loradex.jobs") == NOW + timedelta(hours=1)
    assert an_hour.value(extend, [job], NOW + timedelta(hours=1), TOKEN) == 0
    assert an_hour.rows(CLAIM, "10s", NOW + timedelta(hours=1), OTHER) == []
    ((state, code, message),) = an_hour.rows("select state, error_code, error_message from loradex.jobs")
    assert (state, code) == ("failed", "held_too_long")
    assert "for 3600 s altogether" in message


def test_claims_that_run_out_add_up(an_hour: World) -> None:
    (job,) = an_hour.enqueue({})
    for claims in range(6):
        assert an_hour.rows(CLAIM, "10 minutes", NOW + timedelta(minutes=20 * claims), TOKEN) == [
            (job, claims + 1)
        ]
    assert an_hour.rows(CLAIM, "10 minutes", NOW + timedelta(hours=2), TOKEN) == []
    assert an_hour.rows(HELD, job) == [("failed", "held_too_long")]


def test_many_short_claims_add_up_to_the_microsecond(scratch: World) -> None:
    """Sums of 0.1 drift where they are float8: ten of them would be less than 1, and the job held once more."""
    scratch.rows("select loradex.change_setting('max_held_seconds', '1')")
    (job,) = scratch.enqueue({})
    for claims in range(10):
        assert scratch.rows(CLAIM, "0.1 s", NOW + timedelta(seconds=claims), TOKEN) == [(job, claims + 1)]
        assert scratch.value("select held_seconds from loradex.jobs") == claims / 10
    assert scratch.rows(CLAIM, "0.1 s", NOW + timedelta(seconds=10), TOKEN) == []
    assert scratch.rows(HELD, job) == [("failed", "held_too_long")]


def test_claims_that_are_given_back_add_up(an_hour: World) -> None:
    """Else a stolen login could keep a job from everybody by claiming and releasing it again and again."""
    (job,) = an_hour.enqueue({})
    for releases in range(1, 4):
        an_hour.rows("select id from loradex.claim_jobs('w1', 1, '1 hour', 100, token => %s)", TOKEN)
        an_hour.rows("update loradex.jobs set started_at = now() - interval '25 minutes' returning 1")
        assert LEAVES_ALONE["release_jobs"](an_hour, job, TOKEN) == 1
        assert an_hour.rows(HELD, job) == (
            [("queued", None)] if releases < 3 else [("failed", "held_too_long")]
        )
