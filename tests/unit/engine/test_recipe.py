"""A recipe is a value: equal contents, equal hash; anything that changes the result changes it."""

import dataclasses
import math

import pytest

from loradex.errors import InvalidArgumentError, UnknownNameError
from loradex.worker.engine.recipe import MERGES, Component, Recipe

RECIPE = Recipe("ties", 0.5, "float32", (Component("a" * 64, 0.75), Component("b" * 64, 0.25)))


def test_the_hash_is_that_of_the_content() -> None:
    again = Recipe("ties", 0.5, "float32", (Component("a" * 64, 0.75), Component("b" * 64, 0.25)))
    assert again == RECIPE
    assert again.hash == RECIPE.hash
    assert len(RECIPE.hash) == 64


@pytest.mark.parametrize(
    "change",
    [
        {"merge": "linear"},
        {"calibrated": True},
        {"density": 0.25},
        {"dtype": "bfloat16"},
        {"components": RECIPE.components[::-1]},
        {"components": RECIPE.components[:1]},
        {"components": (Component("a" * 64, math.nextafter(0.75, 1)), RECIPE.components[1])},
    ],
)
def test_whatever_changes_the_result_changes_the_hash(change: dict[str, object]) -> None:
    assert dataclasses.replace(RECIPE, **change).hash != RECIPE.hash  # type: ignore[arg-type]


def test_hashes_never_move() -> None:
    """Recorded answers name recipes by hash, so a new version must compute the same one."""
    assert RECIPE.hash == "92958dd26fca5c6f6f751f609673b4b3e7577edc3f7b1f0189ceed5f1aa8da86"


@pytest.mark.parametrize("merge", MERGES)
def test_one_adapter_is_merged_as_peft_does(merge: str) -> None:
    alone = dataclasses.replace(RECIPE, merge=merge, components=RECIPE.components[:1])
    assert alone.effective_merge == ("cat" if merge == "cat" else "linear")
    assert alone.trim is None


def test_trims() -> None:
    assert RECIPE.trim == 0.5
    assert dataclasses.replace(RECIPE, density=1.0).trim is None
    assert dataclasses.replace(RECIPE, merge="linear").trim is None
    assert dataclasses.replace(RECIPE, merge="magnitude_prune", calibrated=True).trim == 0.5


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"merge": "dare_ties"}, UnknownNameError),
        ({"dtype": "int8"}, UnknownNameError),
        ({"density": -0.1}, InvalidArgumentError),
        ({"density": math.nan}, InvalidArgumentError),
        ({"components": (Component("a" * 64, math.inf),)}, InvalidArgumentError),
    ],
)
def test_nonsense_is_refused(change: dict[str, object], error: type[Exception]) -> None:
    with pytest.raises(error):
        dataclasses.replace(RECIPE, **change)  # type: ignore[arg-type]
