"""The arithmetic of the distribution against a plain reading of its definition, on any neighbours."""

import math
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.world import World, text_of

SIMILARITY = st.floats(-1, 1, allow_nan=False)
NEIGHBOURS = st.lists(st.tuples(st.sampled_from("abcdef"), SIMILARITY), min_size=1, max_size=40)
MIX = """
    select task, neighbours, best_similarity, probability, weight, in_nucleus
    from loradex.mix_neighbours(
        array[row(1, '[1]', 1, %s, %s, '{}', null, '{}', null)::loradex.route_request],
        (select array_agg(row(1, n, 0, t, s)::loradex.neighbour)
         from unnest(%s::text[], %s::float8[]) with ordinality u(t, s, n)))
    order by rank"""


def expected(
    neighbours: list[tuple[str, float]], top_p: float, temperature: float
) -> list[tuple[str, int, float, float]]:
    """Task, count, best similarity, probability; most probable first."""
    best = max(similarity for _, similarity in neighbours)
    mass: dict[str, list[float]] = {}
    for task, similarity in neighbours:
        mass.setdefault(task, []).append(similarity)
    votes = {
        task: math.fsum(math.exp((one - best) / temperature) for one in all_) for task, all_ in mass.items()
    }
    whole = math.fsum(votes.values())
    return sorted(
        ((task, len(mass[task]), max(mass[task]), votes[task] / whole) for task in mass),
        key=lambda row: (-row[3], -row[2], row[0]),
    )


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(neighbours=NEIGHBOURS, top_p=st.floats(0.01, 1), temperature=st.floats(0.01, 10))
def test_it_is_what_the_definition_says(
    connection: Any, neighbours: list[tuple[str, float]], top_p: float, temperature: float
) -> None:
    rows = connection.execute(
        MIX, (top_p, temperature, [t for t, _ in neighbours], [s for _, s in neighbours])
    ).fetchall()
    wanted = expected(neighbours, top_p, temperature)
    assert {row[0]: row[1:3] for row in rows} == {row[0]: row[1:3] for row in wanted}
    probability = {row[0]: row[3] for row in rows}
    assert probability == pytest.approx({row[0]: row[3] for row in wanted}, rel=1e-9, abs=1e-12)
    assert [row[3] for row in rows] == sorted((row[3] for row in rows), reverse=True)
    assert math.fsum(probability.values()) == pytest.approx(1)

    inside = [row for row in rows if row[5]]
    assert inside == rows[: len(inside)], "the nucleus is a prefix"
    assert math.fsum(row[4] for row in inside) == pytest.approx(1)
    assert all(row[4] == 0 for row in rows[len(inside) :])
    before_last = math.fsum(row[3] for row in inside[:-1])
    assert len(inside) == 1 or before_last < top_p + 1e-9, "no shorter prefix would do"
    assert len(inside) == len(rows) or before_last + inside[-1][3] >= top_p - 1e-9


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    neighbours=NEIGHBOURS,
    top_p=st.floats(min_value=5e-324, max_value=1),
    temperature=st.floats(min_value=5e-324, max_value=1.7e308),
)
@example(neighbours=[("a", 0.0), ("a", 2.2e-311)], top_p=1.0, temperature=9e12)
@example(neighbours=[("a", 0.5), ("b", 0.4)], top_p=1.0, temperature=1.7e308)
def test_no_setting_in_range_over_or_underflows(
    connection: Any, neighbours: list[tuple[str, float]], top_p: float, temperature: float
) -> None:
    rows = connection.execute(
        MIX, (top_p, temperature, [t for t, _ in neighbours], [s for _, s in neighbours])
    ).fetchall()
    assert math.fsum(row[3] for row in rows) == pytest.approx(1)
    assert math.fsum(row[4] for row in rows) == pytest.approx(1)


def test_it_counts_the_nearest_examples(world: World) -> None:
    query = text_of(world.near("boats"))
    rows = world.rows("select * from loradex.task_distribution(%s::vector, 10, 0.9, 0.1)", query)
    nearest = world.rows("select task, similarity from loradex.nearest_examples(%s::vector, 10)", query)
    wanted = expected([(task, similarity) for task, similarity in nearest], 0.9, 0.1)
    assert [row[1] for row in rows] == [row[0] for row in wanted]
    assert [row[4] for row in rows] == pytest.approx([row[3] for row in wanted])
    assert [row[0] for row in rows] == list(range(1, len(rows) + 1))


def test_an_empty_library_has_no_distribution(connection: Any) -> None:
    connection.execute("select loradex.register_encoder('all-MiniLM-L6-v2', 'r1', 3)")
    assert connection.execute("select * from loradex.task_distribution('[1,0,0]')").fetchall() == []
