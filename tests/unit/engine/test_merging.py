"""What the merges promise beyond agreeing with PEFT."""

import dataclasses
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.fix_models import Zoo
from tests.unit.engine.test_exactness import engine_deltas

from loradex.worker.engine import merging
from loradex.worker.engine.engine import Engine
from loradex.worker.engine.pairs import Pair, mixture_norm, sign_conflict
from loradex.worker.engine.recipe import MERGES, Component, Recipe

WEIGHTS = (0.5, 0.3, 0.2)


def mixed(zoo: Zoo, merge: str, places: tuple[int, ...] = (0, 1, 3), *, calibrated: bool = False) -> Recipe:
    parts = zip(places, WEIGHTS, strict=True)
    components = tuple(Component(zoo.all[place].sha256, weight) for place, weight in parts)
    return Recipe(merge, 0.5, "float32", components, calibrated)


def whole_norm(deltas: dict[str, torch.Tensor]) -> float:
    return math.sqrt(sum(float(delta.norm()) ** 2 for delta in deltas.values()))


@pytest.mark.parametrize("merge", MERGES)
def test_a_calibrated_merge_has_the_norm_its_weights_promise(merge: str, zoo: Zoo, engine: Engine) -> None:
    plain, calibrated = mixed(zoo, merge), mixed(zoo, merge, calibrated=True)
    factors, reports = engine.compose([plain, calibrated])
    promised = sum(weight * norm for weight, norm in zip(WEIGHTS, reports[1].component_norms, strict=True))
    before, after = engine_deltas(engine, factors, 0), engine_deltas(engine, factors, 1)
    assert whole_norm(after) == pytest.approx(promised, rel=1e-4)
    assert reports[1].update_norm == pytest.approx(promised, rel=1e-4)
    for name, delta in before.items():
        scaled = delta * promised / whole_norm(before)
        assert (after[name] - scaled).norm() <= 1e-4 * scaled.norm() + 1e-9


def test_the_known_faults_of_the_plain_merges(zoo: Zoo, engine: Engine) -> None:
    """Three times the same adapter: `cat` keeps its norm, `linear` inflates it, TIES shrinks it."""
    factors, reports = engine.compose([mixed(zoo, method, (0, 0, 0)) for method in ("cat", "linear", "ties")])
    exact, linear, ties = (whole_norm(engine_deltas(engine, factors, row)) for row in range(3))
    own = reports[0].component_norms[0]
    assert exact == pytest.approx(own, rel=1e-5)
    assert linear == pytest.approx(own * sum(math.sqrt(weight) for weight in WEIGHTS) ** 2, rel=1e-5)
    assert ties < own / 2
    assert reports[0].sign_conflict == 0


def test_norms_of_the_report_are_those_of_the_update(zoo: Zoo, engine: Engine) -> None:
    factors, reports = engine.compose([mixed(zoo, method) for method in MERGES])
    for row, report in enumerate(reports):
        assert report.update_norm == pytest.approx(whole_norm(engine_deltas(engine, factors, row)), rel=1e-4)
    for adapter, norm in zip((zoo.all[0], zoo.all[1], zoo.all[3]), reports[0].component_norms, strict=True):
        alone, _ = engine.compose([Recipe("cat", 1.0, "float32", (Component(adapter.sha256, 1.0),))])
        assert norm == pytest.approx(whole_norm(engine_deltas(engine, alone, 0)), rel=1e-5)


def test_a_row_has_the_same_bits_alone_and_in_a_batch(zoo: Zoo, engine: Engine) -> None:
    recipes = [mixed(zoo, method) for method in MERGES]
    factors, _ = engine.compose(recipes)
    together = [engine_deltas(engine, factors, row) for row in range(len(recipes))]
    for row, recipe in enumerate(recipes):
        alone = engine_deltas(engine, engine.compose([recipe])[0], 0)
        for name, delta in together[row].items():
            torch.testing.assert_close(delta, alone[name], rtol=1e-6, atol=1e-7)


@given(
    values=st.lists(st.integers(-50, 50), min_size=1, max_size=40),
    density=st.floats(0, 1.5),
)
def test_a_trim_keeps_the_largest(values: list[int], density: float) -> None:
    tensor = torch.tensor(values, dtype=torch.float32)
    kept = merging.trim(tensor, density)
    count = len(values) if density >= 1 else int(density * len(values))
    assert (
        sorted(kept.abs().tolist(), reverse=True)[:count]
        == sorted(tensor.abs().tolist(), reverse=True)[:count]
    )
    assert int(kept.count_nonzero()) <= count
    assert all(new in (0, old) for new, old in zip(kept.tolist(), values, strict=True))


def test_an_empty_mixture_needs_no_calibration() -> None:
    assert merging.calibration(0.0, [1.0], [0.0]) == 1.0


def test_pairs_give_norm_and_conflict() -> None:
    pairs = [[Pair(4.0, 0.0), Pair(-1.0, 0.25)], [Pair(-1.0, 0.25), Pair(9.0, 0.0)]]
    assert mixture_norm([0.5, 0.5], pairs) == pytest.approx(math.sqrt(0.25 * (4 + 9 - 2)))
    assert sign_conflict([0.5, 0.5], pairs) == 0.25
    assert sign_conflict([0.5, -0.5], pairs) == 0.75
    assert sign_conflict([1.0, 0.0], pairs) == 0.0
    assert sign_conflict([1.0], [[pairs[0][0]]]) == 0.0


def test_sign_conflict_counts_entries(zoo: Zoo, engine: Engine) -> None:
    """Two adapters with opposite weights pull apart wherever an adapter and itself agree: everywhere."""
    sha256 = zoo.even[0].sha256
    recipe = Recipe("cat", 1.0, "float32", (Component(sha256, 0.5), Component(sha256, -0.5)))
    _, reports = engine.compose([recipe, dataclasses.replace(recipe, components=recipe.components[:1] * 2)])
    assert [report.sign_conflict for report in reports] == [1.0, 0.0]
    assert reports[0].update_norm == pytest.approx(0.0, abs=1e-3)
