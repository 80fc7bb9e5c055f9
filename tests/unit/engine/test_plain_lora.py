"""A mixture handed over as one LoRA changes every module as the mixture itself does."""

import random

import pytest
import torch
from tests.fix_models import Zoo
from tests.unit.engine.rows import BARE, recipe

from loradex.worker.engine.compose import Composer
from loradex.worker.engine.engine import Engine
from loradex.worker.engine.plain_lora import plain_lora, rank_of
from loradex.worker.engine.recipe import MERGES, Component, Recipe


@pytest.mark.parametrize("merge", MERGES)
@pytest.mark.parametrize("calibrated", [False, True])
def test_it_adds_what_the_mixture_adds(engine: Engine, zoo: Zoo, merge: str, calibrated: bool) -> None:
    numbers = random.Random(merge)
    drawn = recipe(zoo, numbers, merge)
    mixture = Recipe(merge, drawn.density, drawn.dtype, drawn.components, calibrated)
    plain = plain_lora(Composer(engine.bank, 1 << 20), engine.bank, mixture)
    assert plain.rank == rank_of(engine.bank, mixture)
    updates, reports = engine.compose([mixture])
    assert updates is not None
    assert plain.report.update_norm == pytest.approx(reports[0].update_norm)
    assert plain.factors
    for module, (d_out, d_in) in engine.bank.sizes.items():
        x, out = torch.randn(1, 3, d_in), torch.zeros(1, 3, d_out)
        updates.add(module, x, out)
        a, b = plain.factors.get(module, (torch.zeros(1, d_in), torch.zeros(d_out, 1)))
        torch.testing.assert_close(x @ a.T @ b.T, out, rtol=1e-5, atol=1e-6)


def test_its_rank_is_its_own_and_not_the_largest_of_the_bank(engine: Engine, zoo: Zoo) -> None:
    small = Component(zoo.all[4].sha256, 0.5)  # of rank 2, where others are of rank 7
    for merge, parts, rank in (("cat", (small, small), 4), ("linear", (small,), 2)):
        mixture = Recipe(merge, 1.0, "float32", parts)
        plain = plain_lora(Composer(engine.bank, 1 << 20), engine.bank, mixture)
        assert (plain.rank, rank_of(engine.bank, mixture)) == (rank, rank)


def test_the_bare_model_has_none(engine: Engine) -> None:
    plain = plain_lora(Composer(engine.bank, 1 << 20), engine.bank, BARE)
    assert (dict(plain.factors), plain.rank, rank_of(engine.bank, BARE)) == ({}, 0, 0)
