"""Ratings: of one's own answers alone, never changed, and tied to the link that was rated."""

import psycopg
import pytest
from tests.fix_db import RoleUrl
from tests.world import World

from loradex.db.session import connect


def test_an_owner_rates_its_own_answers(world: World, role_url: RoleUrl) -> None:
    alice, bob = (role_url("loradex_client", member=True) for _ in range(2))
    with connect(alice) as connection:
        (job,) = World(connection, world.centres, world.rng).enqueue({"prompt": "A boat?"})
        attempt = world.claim()[job]
        answer = world.record(job, attempt, world.route([job], [world.near("boats")])[job])
        for rating in (1, -1):
            connection.execute("select loradex.rate_answer(%s, %s)", (answer, rating))
        rows = connection.execute("select rating from loradex.feedback order by id").fetchall()
        assert rows == [(1,), (-1,)]
        for bad in (0, None, 2):
            with pytest.raises(psycopg.Error) as refused:
                connection.execute("select loradex.rate_answer(%s, %s)", (answer, bad))
            assert refused.value.sqlstate == "LX001"
    with connect(bob) as connection:
        with pytest.raises(psycopg.Error) as refused:
            connection.execute("select loradex.rate_answer(%s, 1)", (answer,))
        assert refused.value.sqlstate == "LX004"
        assert connection.execute("select from loradex.feedback").fetchall() == []
    with connect(role_url("loradex_reader")) as connection:
        told = connection.execute(
            "select f.rating, f.chain_hash = a.chain_hash, f.owner = a.owner "
            "from loradex.feedback f join loradex.answers a on a.id = f.answer_id order by f.id"
        ).fetchall()
        assert told == [(1, True, True), (-1, True, True)]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("select loradex.rate_answer(%s, 1)", (answer,))


@pytest.mark.parametrize("change", ["update loradex.feedback set rating = 1", "delete from loradex.feedback"])
def test_a_rating_is_never_changed(scratch: World, change: str) -> None:
    with pytest.raises(psycopg.Error) as refused:
        scratch.connection.execute(change.encode())
    assert refused.value.sqlstate == "LX009"


def test_an_answer_is_not_rated_without_end(world: World) -> None:
    (job,) = world.enqueue({"prompt": "A boat?"})
    answer = world.record(job, world.claim()[job], world.route([job], [world.near("boats")])[job])
    world.rows("select loradex.rate_answer(%s, 1) from generate_series(1, 100)", answer)
    with pytest.raises(psycopg.Error) as refused:
        world.rows("select loradex.rate_answer(%s, 1)", answer)
    assert refused.value.sqlstate == "LX001"
