"""Figures for monitors: right, of all tenants together, and seen by a login that sees no rows."""

from datetime import timedelta
from typing import Any

import psycopg
import pytest
from tests.fix_db import RoleUrl
from tests.world import BASE_MODEL, World

from loradex.db.session import connect

FIGURES = "select figure, label, value from loradex.monitor_figures()"


def told(world: World) -> dict[tuple[str, str], float]:
    return {(figure, label): value for figure, label, value in world.rows(FIGURES)}


def test_they_follow_the_queue(scratch: World) -> None:
    before = told(scratch)
    scratch.enqueue({"priority": -3}, {}, {}, {"priority": 9}, {"priority": 1}, {"priority": 5})
    scratch.connection.execute(
        "update loradex.jobs set created_at = now() - interval '1 minute' where priority = -3"
    )
    scratch.claim(rows=1)  # that of priority 9

    def grown(figure: str, label: str = "") -> float:
        return told(scratch)[figure, label] - before[figure, label]

    assert [grown("waiting_jobs", label) for label in ("low", "normal", "high")] == [1, 2, 2]
    assert grown("running_jobs") == 1
    assert [grown("waiting_jobs_of", label) for label in ("key", "login")] == [0, 5]
    assert grown("open_jobs", BASE_MODEL) == 6
    assert grown("expired_leases") == 0
    assert grown("unserved_jobs") == 5  # no worker lives here
    assert told(scratch)["oldest_waiting_seconds", "low"] >= 60
    assert told(scratch)["oldest_waiting_seconds", "normal"] < 60
    scratch.connection.execute(
        "update loradex.jobs set lease_until = now() - interval '1 s' where state = 'running'"
    )
    assert grown("expired_leases") == 1
    assert told(scratch)["max_waiting_jobs", ""] == 100000


def test_they_follow_what_ends_without_an_answer(scratch: World) -> None:
    def ended() -> dict[str, float]:
        return {label: value for (figure, label), value in told(scratch).items() if figure == "ended_jobs"}

    none = {"expired job_expired": 0.0, "failed held_too_long": 0.0, "failed too_many_attempts": 0.0}
    scratch.answered({})
    assert ended() == none
    scratch.enqueue({}, {}, {}, {"deadline": 60})
    late = scratch.value("select now() + interval '1 hour'")
    for _ in range(2):  # lost once, then given up
        scratch.rows("select loradex.claim_jobs('w', 3, '1 second', 1, now => %s)", late)
        late += timedelta(hours=1)
    # Nobody but Postgres ended these.
    assert ended() == {**none, "failed too_many_attempts": 3.0, "expired job_expired": 1.0}
    scratch.connection.execute(
        "update loradex.jobs set finished_at = now() - interval '11 minutes' where state = 'expired'"
    )
    assert ended() == {**none, "failed too_many_attempts": 3.0}


def test_codes_that_end_jobs_are_so_many_at_most(scratch: World) -> None:
    scratch.enqueue(*[{}] * 45)
    scratch.connection.execute(
        """
        update loradex.jobs j set state = 'failed', finished_at = now(), error_message = 'so it is',
            error_code = case when n.number <= 20 then 'often' else 'code_' || n.number end
        from (select id, row_number() over (order by id) as number from loradex.jobs where state = 'queued') n
        where n.id = j.id
        """
    )
    ended = {label: value for (figure, label), value in told(scratch).items() if figure == "ended_jobs"}
    assert ended["failed often"] == 20
    assert "failed other" in ended
    assert sum(ended.values()) == 45
    assert len([label for label, value in ended.items() if value]) <= 21


def test_they_follow_workers_and_the_chain(scratch: World) -> None:
    assert told(scratch)["living_workers", BASE_MODEL] == 0
    scratch.rows(
        "select loradex.announce_worker('w', %s, 'all-MiniLM-L6-v2', 'cpu', 'float32', '{}', 4, '{}')",
        BASE_MODEL,
    )
    assert told(scratch)["living_workers", BASE_MODEL] == 1
    scratch.answered({"top_p": 1.0}, {"top_p": 1.0})
    head = scratch.value("select position from loradex.chain_head()")
    assert told(scratch)["chain_position", ""] == head
    assert ("chain_verified_seconds", "") not in told(scratch)
    scratch.rows("select loradex.note_verification(%s)", head)
    scratch.rows("select loradex.note_verification(%s)", head)
    assert told(scratch)["chain_verified_position", ""] == head
    assert 0 <= told(scratch)["chain_verified_seconds", ""] < 60
    assert scratch.value("select count(*) from loradex.verifications") == 1


@pytest.mark.parametrize("position", [None, -1, 10**6])
def test_a_position_that_is_not_there_is_refused(scratch: World, position: Any) -> None:
    with pytest.raises(psycopg.Error) as refused:
        scratch.rows("select loradex.note_verification(%s)", position)
    assert refused.value.sqlstate == "LX001"


def test_a_login_that_sees_no_rows_sees_them(world: World, role_url: RoleUrl) -> None:
    world.enqueue({"prompt": "Mine?"})
    with connect(role_url("loradex_client", member=True)) as other:
        assert other.execute("select count(*) from loradex.jobs").fetchone() == (0,)
        assert ("waiting_jobs", "normal", 1.0) in other.execute(FIGURES).fetchall()
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            other.execute("select loradex.note_verification(0)")
