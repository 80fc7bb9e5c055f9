"""The engine's updates are PEFT's, module by module and logit by logit."""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from peft import PeftModel
from tests.fix_models import FAMILIES, TinyAdapter, Zoo

from loradex.worker.engine.engine import Engine
from loradex.worker.engine.load import DTYPES
from loradex.worker.engine.recipe import MERGES, Component, Recipe
from loradex.worker.engine.updates import RowFactors, Updates

PEFT_NAMES = {
    "linear": ("linear", "total"),
    "cat": ("cat", "total"),
    "ties": ("ties", "total"),
    "ties_frequency": ("ties", "frequency"),
    "magnitude_prune": ("magnitude_prune", "total"),
}
TOLERANCE = 1e-5


@dataclass(frozen=True)
class Mixture:
    method: str
    density: float
    adapters: tuple[int, ...]
    weights: tuple[float, ...]

    def recipe(self, pool: Sequence[TinyAdapter], dtype: str = "float32") -> Recipe:
        parts = zip(self.adapters, self.weights, strict=True)
        components = tuple(Component(pool[place].sha256, weight) for place, weight in parts)
        return Recipe(self.method, self.density, dtype, components)


@st.composite
def mixtures(draw: st.DrawFn) -> Mixture:
    """Any method, density and weights, negative and zero too, of adapters PEFT merges by that method."""
    method = draw(st.sampled_from(MERGES))
    pool = 6 if method == "cat" else 4
    adapters = draw(st.lists(st.integers(0, pool - 1), min_size=1, max_size=pool, unique=True))
    weight = st.integers(-32, 32).map(lambda sixteenths: sixteenths / 16)
    weights = draw(st.lists(weight, min_size=len(adapters), max_size=len(adapters)))
    density = draw(st.one_of(st.sampled_from([0.0, 0.5, 1.0, 1.5]), st.floats(0, 1)))
    return Mixture(method, density, tuple(adapters), tuple(weights))


def peft_deltas(model: PeftModel, zoo: Zoo, mixture: Mixture) -> dict[str, torch.Tensor]:
    """The merged updates by module, as `[d_out, d_in]`; leaves the merge in force under the name `mix`."""
    if "mix" in model.peft_config:
        model.set_adapter(zoo.all[0].name)
        model.delete_adapter("mix")
    combination, sign = PEFT_NAMES[mixture.method]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT warns of densities of 1 and more, which are allowed
        model.add_weighted_adapter(
            [zoo.all[place].name for place in mixture.adapters],
            list(mixture.weights),
            "mix",
            combination_type=combination,
            density=mixture.density,
            majority_sign_method=sign,
        )
    model.set_adapter("mix")
    deltas = {}
    for name, module in model.base_model.model.named_modules():
        if "mix" in getattr(module, "lora_A", {}):
            delta = module.get_delta_weight("mix").detach()
            deltas[name] = delta.T if module.fan_in_fan_out else delta
    return deltas


@torch.inference_mode()
def engine_deltas(engine: Engine, updates: Updates | None, row: int) -> dict[str, torch.Tensor]:
    """One row's updates by module, as `[d_out, d_in]`: what is added to nothing for each unit vector."""
    if updates is None:
        return {}
    alone, dtype = updates.rows(slice(row, row + 1)), engine.bank.dtype
    deltas = {}
    for name, shape in engine.bank.layout.shapes.items():
        out = torch.zeros(1, shape.d_in, shape.d_out, dtype=dtype)
        alone.add(name, torch.eye(shape.d_in, dtype=dtype).unsqueeze(0), out)
        deltas[name] = out[0].T
    return deltas


@torch.inference_mode()
def logits(engine: Engine, tokens: torch.Tensor, factors: Updates | None) -> torch.Tensor:
    engine._switch.current = factors
    try:
        return engine.model(input_ids=tokens).logits
    finally:
        engine._switch.current = None


def assert_same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    for name, expected in theirs.items():
        assert (ours[name] - expected).norm() <= TOLERANCE * expected.norm() + 1e-9, name
    for name in ours.keys() - theirs.keys():
        assert not ours[name].any(), name


@pytest.fixture(scope="module")
def peft(zoo: Zoo) -> PeftModel:
    return zoo.peft()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(mixture=mixtures())
def test_one_row_has_the_update_of_add_weighted_adapter(
    mixture: Mixture, zoo: Zoo, engine: Engine, peft: PeftModel
) -> None:
    factors, _ = engine.compose([mixture.recipe(zoo.all)])
    assert_same(engine_deltas(engine, factors, 0), peft_deltas(peft, zoo, mixture))


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batch=st.lists(mixtures(), min_size=2, max_size=9))
def test_many_rows_have_each_their_own(
    batch: list[Mixture], zoo: Zoo, engine: Engine, peft: PeftModel
) -> None:
    bare = Recipe("cat", 1.0, "float32", ())
    factors, reports = engine.compose([bare, *(mixture.recipe(zoo.all) for mixture in batch)])
    assert not any(delta.any() for delta in engine_deltas(engine, factors, 0).values())
    for row, mixture in enumerate(batch, start=1):
        theirs = peft_deltas(peft, zoo, mixture)
        assert_same(engine_deltas(engine, factors, row), theirs)
        norm = math.sqrt(sum(float(delta.norm()) ** 2 for delta in theirs.values()))
        assert reports[row].update_norm == pytest.approx(norm, rel=1e-3, abs=1e-3)


@pytest.mark.parametrize(("dtype", "apart"), [("bfloat16", 0.02), ("float16", 0.0025)])
@pytest.mark.parametrize("method", MERGES)
def test_short_numbers_have_the_update_of_peft_in_float32_but_for_rounding(
    method: str, dtype: str, apart: float, zoo: Zoo, peft: PeftModel
) -> None:
    """Adapters, merged factors and their products are rounded once each, to 8 or 11 bits."""
    engine = zoo.engine(dtype=DTYPES[dtype])
    mixture = Mixture(method, 0.5, (0, 1, 3), (0.75, -0.25, 0.5))
    factors, _ = engine.compose([mixture.recipe(zoo.all, dtype)] * 2)
    kept = factors.planes if isinstance(factors, RowFactors) else engine.bank.stacks
    assert {planes.dtype for planes in kept.values()} == {DTYPES[dtype]}
    theirs = peft_deltas(peft, zoo, mixture)
    for row in range(2):
        for name, ours in engine_deltas(engine, factors, row).items():
            if name in theirs:
                assert (ours.float() - theirs[name]).norm() <= apart * theirs[name].norm(), name


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", MERGES)
def test_every_family_gives_the_logits_of_peft(family: str, method: str, zoos: Callable[[str], Zoo]) -> None:
    zoo = zoos(family)
    engine, peft = zoo.engine(), zoo.peft()
    batch = [
        Mixture(method, 0.4, (0, 1, 2), (0.7, -0.4, 0.6)),
        Mixture(method, 0.6, (3, 0), (0.25, 1.5)),
        Mixture(method, 0.6, (1,), (0.5,)),
    ]
    tokens = torch.randint(2, 200, (len(batch), 11), generator=torch.Generator().manual_seed(3))
    factors, _ = engine.compose([mixture.recipe(zoo.all) for mixture in batch])
    ours = logits(engine, tokens, factors)
    for row, mixture in enumerate(batch):
        theirs = peft_deltas(peft, zoo, mixture)
        assert_same(engine_deltas(engine, factors, row), theirs)
        with torch.inference_mode():
            expected = peft(input_ids=tokens[row : row + 1]).logits[0]
        assert (ours[row] - expected).abs().max() <= 1e-4 * expected.abs().max()


@pytest.mark.parametrize("family", FAMILIES)
def test_no_mixture_is_the_bare_base_model(family: str, zoos: Callable[[str], Zoo]) -> None:
    zoo = zoos(family)
    engine = zoo.engine()
    tokens = torch.randint(2, 200, (2, 9), generator=torch.Generator().manual_seed(4))
    with torch.inference_mode():
        expected = zoo.model(input_ids=tokens).logits
    bare = Recipe("linear", 0.5, "float32", ())
    nothing, reports = engine.compose([bare, bare])
    assert nothing is None
    assert reports[0].update_norm == 0
    # The products' kernel may round differently; the mixture of nothing may not differ from it at all.
    bare_logits = logits(engine, tokens, None)
    assert (bare_logits - expected).abs().max() <= 1e-5 * expected.abs().max()
    zero = Recipe("linear", 0.5, "float32", tuple(Component(part.sha256, 0.0) for part in zoo.even))
    factors, _ = engine.compose([bare, zero])
    assert torch.equal(logits(engine, tokens, factors), bare_logits)
