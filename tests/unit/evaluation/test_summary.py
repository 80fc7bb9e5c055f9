"""What the cells say together."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loradex.evaluation.cells import Cell
from loradex.evaluation.origin import Origin
from loradex.evaluation.plan import IN_DOMAIN, OOD
from loradex.evaluation.summary import percent_of, share_recovered, summarise

ORIGIN = Origin("test", None, "float32", "0" * 64)


def cell(method: str, task: str, right: str, family: str = "nli", setting: str = IN_DOMAIN) -> Cell:
    return Cell(
        setting=setting,
        method=method,
        options={},
        task=task,
        family=family,
        metric="accuracy",
        seconds=1.0,
        revision="abc",
        right=right,
        calibrated=right,
        generated=None,
        first=1.0,
        own_mass=0.5,
        family_mass=0.75,
        nucleus=1.0,
        mixture={},
        tasks={},
        origin=ORIGIN,
    )


def exam(method: str, scores: Sequence[str], setting: str = IN_DOMAIN) -> list[Cell]:
    tasks = (("rte", "nli"), ("snli", "nli"), ("imdb", "sentiment"))
    return [
        cell(method, task, right, family, setting)
        for (task, family), right in zip(tasks, scores, strict=True)
    ]


def test_percent_of_own_is_a_mean_over_families_and_recovery_is_against_base() -> None:
    cells = [
        *exam("base", ("0000", "1000", "0000")),
        *exam("own", ("1100", "1111", "1111")),
        *exam("cat", ("1100", "1100", "1111"), OOD),
    ]
    base, own, cat = summarise(cells, OOD, ("base", "own", "cat"))
    assert own.of_own.value == pytest.approx(100)
    assert own.recovered.value == pytest.approx(100)
    assert base.recovered.value == pytest.approx(0)
    # Families: nli 0.5 of 0.75, sentiment 1 of 1; and base has 0.125 and 0.
    assert cat.of_own.value == pytest.approx(100 * (0.5 / 0.75 + 1) / 2)
    assert cat.recovered.value == pytest.approx(100 * (0.75 - 0.0625) / (0.875 - 0.0625))
    assert cat.wins == 2
    assert cat.mean.low <= cat.mean.value <= cat.mean.high


def test_a_method_that_lacks_a_task_has_no_line() -> None:
    cells = [*exam("base", ("0", "0", "0")), *exam("own", ("1", "1", "1")), *exam("cat", ("1", "1", "1"))[:2]]
    assert [line.method for line in summarise(cells, IN_DOMAIN, ("base", "own", "cat"))] == ["base", "own"]


def test_an_oracle_that_is_never_right_gives_no_percentage() -> None:
    cells = [*exam("base", ("0", "0", "0")), *exam("own", ("0", "0", "0"))]
    assert np.isnan(summarise(cells, IN_DOMAIN, ("own",))[0].of_own.value)


@given(st.lists(st.floats(0.1, 1), min_size=2, max_size=8), st.floats(0.1, 2))
def test_half_as_good_everywhere_is_half_the_percentage(scores: list[float], factor: float) -> None:
    oracle = np.array(scores)[:, None]
    families = ["a", "b"] * len(scores)
    assert percent_of(factor * oracle, oracle, families[: len(scores)])[0] == pytest.approx(100 * factor)
    base = oracle / 2
    recovered = share_recovered(base + factor * (oracle - base), base, oracle, families[: len(scores)])
    assert recovered[0] == pytest.approx(100 * factor)
