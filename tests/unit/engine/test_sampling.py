"""Draws follow the distribution they are told to, and only the row's own seed."""

import pytest
import torch

from loradex.worker.engine.sampling import Sampler

LOGITS = torch.tensor([0.5, 2.0, -1.0, 1.0, -3.0])


def shares(temperature: float, top_p: float, draws: int = 4000) -> torch.Tensor:
    sampler = Sampler(temperature, top_p, seed=5)
    counts = torch.zeros(len(LOGITS), dtype=torch.float64)
    for _ in range(draws):
        counts[sampler.draw(LOGITS)] += 1
    return counts / draws


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draws_follow_the_softmax(temperature: float) -> None:
    expected = torch.softmax(LOGITS.double() / temperature, 0)
    assert (shares(temperature, 1.0) - expected).abs().max() < 0.03


def test_the_nucleus_is_the_smallest_that_holds_the_mass() -> None:
    probabilities = torch.softmax(LOGITS.double(), 0)
    top_p = float(probabilities[1] + probabilities[3]) - 1e-6
    expected = torch.zeros_like(probabilities)
    expected[[1, 3]] = probabilities[[1, 3]] / (probabilities[1] + probabilities[3])
    found = shares(1.0, top_p)
    assert found[[0, 2, 4]].sum() == 0
    assert (found - expected).abs().max() < 0.03


def test_temperature_zero_takes_the_likeliest() -> None:
    sampler = Sampler(0.0, 1.0, seed=1)
    assert sampler.greedy
    assert sampler.draw(LOGITS) == 1


def test_seeds_decide() -> None:
    def drawn(seed: int) -> list[int]:
        sampler = Sampler(1.0, 1.0, seed)
        return [sampler.draw(LOGITS) for _ in range(30)]

    assert drawn(1) == drawn(1) != drawn(2)
