"""Which differences are beyond noise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.evaluation.test_summary import cell

from loradex.evaluation.paired import Side, against, differences, holm, sign_test
from loradex.evaluation.plan import IN_DOMAIN, OOD, UNSEEN

ROWS = st.lists(st.booleans(), min_size=8, max_size=40)


def text(marks: list[bool]) -> str:
    return "".join("1" if mark else "0" for mark in marks)


@given(ROWS)
def test_a_side_is_not_ahead_of_itself(marks: list[bool]) -> None:
    cells = [cell(name, "sick.flan", text(marks), setting=UNSEEN) for name in ("base", "cat")]
    (found,) = differences(cells, UNSEEN, [(Side("cat"), Side("base"))])
    assert (found.points.value, found.points.low, found.points.high) == (0, 0, 0)
    assert (found.p, found.beyond) == (1, False)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=8, max_size=40))
def test_turned_round_a_difference_changes_its_sign_alone(rows: list[tuple[bool, bool]]) -> None:
    cells = [
        cell("base", "sick.flan", text([one for one, _ in rows]), setting=UNSEEN),
        cell("cat", "sick.flan", text([other for _, other in rows]), setting=UNSEEN),
    ]
    pair = Side("cat"), Side("base")
    (there,), (back,) = (differences(cells, UNSEEN, [one]) for one in (pair, pair[::-1]))  # type: ignore[list-item]
    assert there.points.value == pytest.approx(-back.points.value)
    assert (there.points.low, there.points.high) == pytest.approx((-back.points.high, -back.points.low))
    assert there.p == pytest.approx(back.p)
    shared = [np.array(side, dtype=float) for side in zip(*rows, strict=True)]
    assert sign_test(*shared) == pytest.approx(sign_test(*shared[::-1]))


def test_paired_rows_tell_what_overlapping_intervals_hide() -> None:
    """One side is right wherever the other is, and on a tenth more: of each alone the interval is wide."""
    worse = [place % 2 == 0 for place in range(100)]
    better = [right or place % 10 == 1 for place, right in enumerate(worse)]
    cells = [
        cell("base", "a.flan", text(worse), setting=UNSEEN),
        cell("cat", "a.flan", text(better), setting=UNSEEN),
    ]
    assert cells[0].interval[1] > cells[1].interval[0]
    (found,) = differences(cells, UNSEEN, [(Side("cat"), Side("base"))])
    assert found.points.value == pytest.approx(10)
    assert found.beyond
    assert against(cells, UNSEEN, (Side("cat"), Side("base")))["a.flan"] == pytest.approx((10, 2 / 2**10))


def test_luck_is_rarely_taken_for_a_difference() -> None:
    """Two sides that are right by the same coin: five of a hundred may seem apart."""
    generator = np.random.default_rng(3)
    seeming = 0
    for _ in range(60):
        marks = generator.integers(0, 2, size=(2, 50)).astype(bool)
        cells = [
            cell(name, "a.flan", text(list(side)), setting=UNSEEN)
            for name, side in zip(("base", "cat"), marks, strict=True)
        ]
        seeming += differences(cells, UNSEEN, [(Side("cat"), Side("base"))])[0].beyond
    assert seeming <= 9


@pytest.mark.parametrize("ahead", range(1, 11))
def test_few_rows_that_all_go_one_way_are_as_likely_as_that_many_coins(ahead: int) -> None:
    """Of one row that differs nothing can be said: luck would put it on either side."""
    cells = [
        cell("base", "a.flan", "0" * 40, setting=UNSEEN),
        cell("cat", "a.flan", "1" * ahead + "0" * (40 - ahead), setting=UNSEEN),
    ]
    (found,) = differences(cells, UNSEEN, [(Side("cat"), Side("base"))])
    _, exact = against(cells, UNSEEN, (Side("cat"), Side("base")))["a.flan"]
    assert exact == 2 / 2**ahead
    assert found.p == pytest.approx(exact, abs=0.02)
    assert found.beyond == (ahead >= 6)


def test_families_weigh_alike_in_the_p_value_too() -> None:
    """A row of the small family counts as much as ten of the large one."""
    cells = [
        cell(method, task, marks, family, UNSEEN)
        for task, family, marks_of_methods in (
            ("a.flan", "small", ("00000000", "11111000")),
            ("b.flan", "large", ("11111111" * 10, "00000111" + "11111111" * 9)),
        )
        for method, marks in zip(("base", "cat"), marks_of_methods, strict=True)
    ]
    (found,) = differences(cells, UNSEEN, [(Side("cat"), Side("base"))])
    assert found.points.value == pytest.approx(100 * (5 / 8 - 5 / 80) / 2)
    # As far from zero only where all five rows of the small family go one way, whatever the others do.
    assert found.p == pytest.approx(2 / 2**5, abs=0.02)


def test_trained_tasks_are_compared_in_percent_of_own_with_families_weighted_alike() -> None:
    cells = [
        cell(method, task, marks, family, setting)
        for method, setting, scores in (
            ("own", IN_DOMAIN, ("1111", "1111", "1100")),
            ("base", IN_DOMAIN, ("1000", "0000", "1000")),
            ("cat", OOD, ("1110", "1000", "1100")),
        )
        for (task, family), marks in zip(
            (("rte", "nli"), ("snli", "nli"), ("imdb", "mood")), scores, strict=True
        )
    ]
    (found,) = differences(cells, OOD, [(Side("cat"), Side("base"))])
    assert found.tasks == 3
    assert found.points.value == pytest.approx(100 * ((0.5 - 0.125) / 1 + (0.5 - 0.25) / 0.5) / 2)
    assert differences(cells, OOD, [(Side("cat"), Side("top1"))]) == []


def test_where_own_is_never_right_there_is_no_percentage_and_nothing_beyond_noise() -> None:
    cells = [
        cell(method, task, marks, task)
        for task, right in (("rte", ("0000", "1111", "0000")), ("imdb", ("1111", "1111", "0000")))
        for method, marks in zip(("own", "cat", "base"), right, strict=True)
    ]
    (found,) = differences(cells, IN_DOMAIN, [(Side("cat"), Side("base"))])
    assert (found.p, found.beyond) == (1, False)


def test_the_more_is_tried_the_less_luck_is_believed() -> None:
    assert holm([0.03]) == [True]
    assert holm([0.03, 0.9]) == [False, False]
    assert holm([0.9, 0.001, 0.03]) == [False, True, False]
    assert holm([]) == []


def test_more_wordings_of_the_same_rows_are_no_more_rows() -> None:
    """Asked in three wordings with like outcomes, a task says as little as asked in one."""
    one, other = ("1101001110100101", "0101101010100001")
    told = []
    for wordings in (("card",), ("card", "chat", "flan")):
        cells = [
            cell(method, f"sick.{wording}", right, setting=UNSEEN)
            for method, right in (("cat", one), ("base", other))
            for wording in wordings
        ]
        (found,) = differences(cells, UNSEEN, [(Side("cat"), Side("base"))])
        told.append((found.points.low, found.points.high, found.p))
    assert told[0] == pytest.approx(told[1])
