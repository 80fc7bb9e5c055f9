"""From what Postgres decided to what the engine computes."""

from collections.abc import Mapping, Sequence
from typing import Any

from worker.engine.recipe import Component, Recipe

APPLIED_AS = {
    "base": "cat",
    "own": "cat",
    "top1": "cat",
    "uniform": "cat",
    "affinity": "cat",
    "affinity_calibrated_cat": "calibrated_cat",
    "affinity_linear": "linear",
    "affinity_magnitude_prune": "magnitude_prune",
}
"""Methods that choose adapters or weights → how those are merged; `cat` is the exact sum of the updates."""


def recipe_of(method: str, density: float, dtype: str, mixture: Sequence[Mapping[str, Any]]) -> Recipe:
    """The recipe of a mixture (`sha256` and `weight` of each adapter); an empty one is the bare model."""
    return Recipe(
        method=APPLIED_AS.get(method, method),
        density=density,
        dtype=dtype,
        components=tuple(Component(sha256=part["sha256"], weight=float(part["weight"])) for part in mixture),
    )
