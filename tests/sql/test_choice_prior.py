"""What choices owe to their words alone, from the asker's latest answers: decided by SQL, kept as evidence."""

import math
from collections.abc import Sequence
from typing import Any

import pytest
from tests.world import World, text_of

LEAST = 16
SCORES = [-0.25, -2.0]
ASKED = {"kind": "choose", "choices": ["no", "yes"], "choice_prior": "history"}


def share(scores: Sequence[float], place: int) -> float:
    return math.exp(scores[place]) / sum(map(math.exp, scores))


def answer(world: World, count: int, scores: Sequence[float] = SCORES, **changes: Any) -> None:
    """As many jobs answered with these scores."""
    jobs = world.enqueue(*(ASKED | changes for _ in range(count)))
    attempts = world.claim(rows=count)
    routings = world.route(jobs, [world.near("boats") for _ in jobs])
    for job in jobs:
        world.record(job, attempts[job], routings[job], scores=list(scores))


def routed(world: World, **changes: Any) -> Any:
    """What routing says of the choices of one more job, which is answered by a worker that lies about it."""
    (job,) = world.enqueue(ASKED | changes)
    attempts = world.claim(rows=1)
    routing = world.route([job], [world.near("boats")])[job]
    lie = world.said(job, routing)["generation"] | {"prior": {"shares": [0.5, 0.5], "answers": 1}}
    told = world.value(
        "select loradex.explain(%s)", world.record(job, attempts[job], routing, generation=lie)
    )
    assert told["generation"].get("prior") == routing.get("prior"), "what was decided is what is kept"
    return routing.get("prior")


def test_the_mean_shares_of_earlier_answers_are_decided_and_kept(scratch: World) -> None:
    answer(scratch, LEAST - 2)
    assert routed(scratch) is None, "of fewer answers nothing is said"
    answer(scratch, 1, [-3.0, -0.5])
    prior = routed(scratch)
    assert prior["answers"] == LEAST
    # What `routed` recorded has the scores of every tiny answer.
    other = scratch.value("select scores from loradex.answers order by id limit 1 offset %s", LEAST - 2)
    expected = [
        ((LEAST - 2) * share(SCORES, place) + share(other, place) + share([-3.0, -0.5], place)) / LEAST
        for place in (0, 1)
    ]
    assert prior["shares"] == pytest.approx(expected)
    assert sum(prior["shares"]) == pytest.approx(1)
    assert scratch.rows("select * from loradex.verify_audit_chain()") == []


@pytest.mark.parametrize(
    "changes",
    [
        {"choice_prior": "none"},
        {"choices": ["yes", "no"]},
        {"method": "base"},
        {"normalization": "bytes"},
    ],
)
def test_only_answers_to_the_same_choices_in_the_same_way_count(
    scratch: World, changes: dict[str, Any]
) -> None:
    answer(scratch, LEAST)
    assert routed(scratch, **changes) is None
    # What a job that does not ask was answered counts for those that do.
    assert routed(scratch)["answers"] == LEAST + ("choice_prior" in changes)


def test_a_hopeless_choice_keeps_a_share_above_zero(scratch: World) -> None:
    answer(scratch, LEAST, [0.0, -5000.0])
    assert routed(scratch)["shares"] == pytest.approx([1, math.exp(-50)])


def test_answers_of_others_do_not_count(scratch: World) -> None:
    answer(scratch, LEAST)
    (job,) = scratch.enqueue(ASKED)
    decide = "select routing from loradex.decide_routes(array[%s::uuid], array[%s::vector])"
    query = text_of(scratch.near("boats"))
    assert scratch.value(decide, job, query)["prior"]["answers"] == LEAST
    with scratch.connection.cursor() as cursor:
        cursor.execute(
            "with other as (insert into loradex.owners (name, role) values ('somebody else', 0) returning id) "
            "update loradex.jobs set owner_id = (select id from other) where id = %s",
            (job,),
        )
    assert "prior" not in scratch.value(decide, job, query)
