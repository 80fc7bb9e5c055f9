"""In float32 vLLM writes what our own engine writes, whatever mixes the adapters, alone and in company."""

import random

import pytest
from tests.unit.engine.rows import BARE, sentence
from tests.vllm.conftest import MOST_LORAS, Tiny, answers

from loradex.worker.engine.engine import Engine
from loradex.worker.engine.recipe import MERGES
from loradex.worker.engine.rows import Row
from loradex.worker.engine.vllm.engine import VllmEngine


def prompts(count: int, seed: int) -> list[str]:
    numbers = random.Random(seed)
    return [sentence(numbers, numbers.randint(1, 14)) + "\nAnswer:" for _ in range(count)]


@pytest.mark.parametrize("merge", MERGES)
def test_sixteen_prompts_of_one_merge(ours: Engine, theirs: VllmEngine, tiny: Tiny, merge: str) -> None:
    rows = [
        Row(
            prompt, tiny.recipe(merge, place % 6, calibrated=place % 2 == 1), max_new_tokens=32, min_tokens=32
        )
        for place, prompt in enumerate(prompts(16, seed=1))
    ]
    assert len({row.recipe.hash for row in rows}) > MOST_LORAS  # so some wait for others
    expected, found = ours.answer(rows), answers(theirs, rows)
    assert [one.token_ids for one in found] == [one.token_ids for one in expected]
    for one, other in zip(found, expected, strict=True):
        assert (one.text, one.prompt_tokens) == (other.text, other.prompt_tokens)
        assert one.merge.update_norm == pytest.approx(other.merge.update_norm, rel=1e-6)
        assert one.merge.sign_conflict == pytest.approx(other.merge.sign_conflict)


def test_a_mixed_batch_and_each_of_its_rows_alone(ours: Engine, theirs: VllmEngine, tiny: Tiny) -> None:
    rows = [
        Row(
            prompt, BARE if place == 5 else tiny.recipe(MERGES[place % len(MERGES)], place), max_new_tokens=16
        )
        for place, prompt in enumerate(prompts(10, seed=2))
    ]
    expected = [one.token_ids for one in ours.answer(rows)]
    assert [one.token_ids for one in answers(theirs, rows)] == expected
    assert [answers(theirs, [row])[0].token_ids for row in rows] == expected


def test_one_prompt_under_many_mixtures_shares_no_keys_and_values(
    ours: Engine, theirs: VllmEngine, tiny: Tiny
) -> None:
    long = " ".join(prompts(1, seed=3) * 3)
    rows = [Row(long, tiny.recipe("cat", seed, k=2), max_new_tokens=12) for seed in range(6)]
    rows += [Row(long, BARE, max_new_tokens=12)]
    expected = [one.token_ids for one in ours.answer(rows)]
    assert len(set(expected)) > 1
    for _ in range(2):  # the second time their prompts are in the cache
        assert [one.token_ids for one in answers(theirs, rows)] == expected


def test_mixtures_come_back_after_vllm_let_them_go(ours: Engine, theirs: VllmEngine, tiny: Tiny) -> None:
    first = Row("seven", tiny.recipe("ties", 70), max_new_tokens=8)
    others = [Row("old maps", tiny.recipe("linear", seed), max_new_tokens=2) for seed in range(80, 92)]
    before = answers(theirs, [first])[0].token_ids
    answers(theirs, others)
    assert answers(theirs, [first])[0].token_ids == before == ours.answer([first])[0].token_ids
