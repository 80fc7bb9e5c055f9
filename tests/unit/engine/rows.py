"""Rows of many kinds over a zoo, for tests."""

import random

from tests.fix_models import Zoo

from loradex.worker.engine.recipe import MERGES, Component, Recipe
from loradex.worker.engine.rows import Row

WORDS = (
    "tin",
    "drum",
    "lark",
    "under",
    "seven",
    "pale",
    "gates",
    "where",
    "foxes",
    "trade",
    "old",
    "maps",
    "bell",
)
BARE = Recipe("cat", 1.0, "float32", ())


def sentence(numbers: random.Random, words: int) -> str:
    return " ".join(numbers.choice(WORDS) for _ in range(words))


def recipe(zoo: Zoo, numbers: random.Random, merge: str | None = None, dtype: str = "float32") -> Recipe:
    calibrated = merge is None and numbers.random() < 0.5
    merge = merge or numbers.choice(MERGES)
    pool = zoo.all if merge == "cat" else zoo.even
    picked = numbers.sample(pool, numbers.randint(1, len(pool)))
    components = tuple(Component(part.sha256, numbers.uniform(0.05, 0.5)) for part in picked)
    return Recipe(merge, numbers.choice([0.2, 0.5, 1.0]), dtype, components, calibrated)


def mixed_rows(zoo: Zoo, count: int, seed: int = 0, dtype: str = "float32") -> list[Row]:
    """Rows of all methods, kinds, lengths and ways to sample, some without any adapter."""
    numbers = random.Random(seed)
    rows = []
    for place in range(count):
        mixture = BARE if place % 7 == 3 else recipe(zoo, numbers, dtype=dtype)
        prompt = sentence(numbers, numbers.randint(1, 14)) + "\nAnswer:"
        if place % 3 == 0:
            choices = tuple(sentence(numbers, numbers.randint(1, 3)) for _ in range(numbers.randint(1, 4)))
            normalization = numbers.choice(["none", "tokens", "bytes"])
            rows.append(Row(prompt, mixture, "choose", choices, normalization))
        else:
            temperature = numbers.choice([0.0, 0.0, 0.9])
            rows.append(
                Row(
                    prompt,
                    mixture,
                    max_new_tokens=numbers.randint(1, 12),
                    sampling_temperature=temperature,
                    sampling_top_p=numbers.choice([0.5, 1.0]),
                    seed=place,
                )
            )
    return rows
