"""A row's answer is its own: batch mates neither change it nor share its failure."""

import dataclasses
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.fix_models import CONTEXT, FAMILIES, Zoo, save_adapter
from tests.unit.engine.rows import BARE, mixed_rows, recipe

from loradex.library.adapter_files import content_hash
from loradex.worker.engine.engine import Engine
from loradex.worker.engine.load import DTYPES
from loradex.worker.engine.recipe import Component, Recipe
from loradex.worker.engine.rows import Row, RowResult
from loradex.worker.isolation import Failure


def told(answer: RowResult | Failure) -> tuple[object, ...]:
    assert isinstance(answer, RowResult), answer
    return answer.text, answer.token_ids, answer.choice, answer.prompt_tokens, answer.output_tokens


def test_rows_say_the_same_alone_and_in_a_batch_of_32(zoo: Zoo, engine: Engine) -> None:
    rows = mixed_rows(zoo, 32)
    together = engine.answer(rows)
    for row, answer in zip(rows, together, strict=True):
        [alone] = engine.answer([row])
        assert told(alone) == told(answer)
        assert isinstance(alone, RowResult)
        assert isinstance(answer, RowResult)
        assert alone.scores == pytest.approx(answer.scores, abs=1e-4)


def test_logits_of_a_padded_row_differ_by_rounding_only(zoo: Zoo, engine: Engine) -> None:
    rows = [
        dataclasses.replace(row, kind="generate", max_new_tokens=1) for row in mixed_rows(zoo, 12, seed=5)
    ]
    ids = [engine.text.prompt(row.prompt_text) for row in rows]
    factors, _ = engine.compose([row.recipe for row in rows])
    assert factors is not None
    together = _last_logits(engine, ids, factors)
    for place, row in enumerate(rows):
        alone = _last_logits(engine, [ids[place]], engine.compose([row.recipe])[0])
        assert (alone[0] - together[place]).abs().max() <= 2e-5 * together[place].abs().max()


@torch.inference_mode()
def _last_logits(engine: Engine, ids: list[list[int]], updates: object) -> torch.Tensor:
    engine._switch.current = updates  # type: ignore[assignment]
    try:
        return engine._forward.prompts(ids, None)
    finally:
        engine._switch.current = None


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_text_is_that_of_generate(family: str, zoos: Callable[[str], Zoo]) -> None:
    zoo = zoos(family)
    engine = zoo.engine()
    rows = [
        Row(prompt, BARE, max_new_tokens=9) for prompt in ("a fox", "seven pale gates and a bell\nAnswer:")
    ]
    for row, answer in zip(rows, engine.answer(rows), strict=True):
        ids = torch.tensor([engine.text.prompt(row.prompt_text)])
        written = zoo.model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=9, do_sample=False, pad_token_id=0
        )
        assert told(answer)[1] == tuple(written[0, ids.shape[1] :].tolist())


def test_a_text_that_ends_with_the_last_token_it_is_allowed_is_not_cut_off(zoo: Zoo) -> None:
    [endless] = zoo.engine(ends=frozenset()).answer([Row("a fox", BARE, max_new_tokens=3)])
    assert isinstance(endless, RowResult)
    ends = frozenset(endless.token_ids[-1:])
    written = endless.token_ids.index(endless.token_ids[-1]) + 1
    rows = [Row("a fox", BARE, max_new_tokens=most) for most in (written, written + 1, written - 1) if most]
    for row, answer in zip(rows, zoo.engine(ends=ends).answer(rows), strict=True):
        assert isinstance(answer, RowResult)
        assert answer.output_tokens == min(written, row.max_new_tokens)
        assert answer.finish_reason == ("stop" if row.max_new_tokens >= written else "length")
    assert endless.finish_reason == "length"
    [chosen] = zoo.engine().answer([Row("a fox", BARE, "choose", ("barks", "sleeps"))])
    assert isinstance(chosen, RowResult)
    assert chosen.finish_reason == "choice"


def test_a_seed_gives_one_text_and_another_seed_another(zoo: Zoo, engine: Engine) -> None:
    row = Row("lark", BARE, max_new_tokens=24, sampling_temperature=1.5, seed=3)
    other = dataclasses.replace(row, seed=4)
    first, again, different = engine.answer([row, row, other])
    assert told(first) == told(again) != told(different)


def test_a_tiny_nucleus_samples_the_likeliest(zoo: Zoo, engine: Engine) -> None:
    greedy = Row("drum", BARE, max_new_tokens=12)
    sampled = dataclasses.replace(greedy, sampling_temperature=0.7, sampling_top_p=1e-6, seed=9)
    first, second = engine.answer([greedy, sampled])
    assert told(first) == told(second)


def test_rows_at_fault_fail_alone_and_say_why(zoo: Zoo, tmp_path: object) -> None:
    engine = zoo.engine()
    good = mixed_rows(zoo, 6, seed=2)
    unknown = Recipe("cat", 1.0, "float32", (Component("0" * 64, 1.0),))
    uneven = Recipe(
        "linear", 1.0, "float32", (Component(zoo.all[0].sha256, 0.5), Component(zoo.all[4].sha256, 0.5))
    )
    bad = {
        "prompt_too_long": Row("x" * (CONTEXT + 1), BARE),
        "unknown_name": Row("x", unknown),
        "invalid_argument": Row("x", uneven),
    }
    expected = engine.answer(good)
    answers = engine.answer([*good[:3], *bad.values(), *good[3:]])
    failures = answers[3:6]
    assert [failure.code for failure in failures if isinstance(failure, Failure)] == list(bad)
    assert [told(answer) for answer in answers[:3] + answers[6:]] == [told(answer) for answer in expected]


def test_infinite_logits_fail_their_row_only(zoo: Zoo, engine: Engine) -> None:
    huge = Recipe("cat", 1.0, "float32", (Component(zoo.even[0].sha256, 3e38),))
    sane = mixed_rows(zoo, 4, seed=8)
    answers = engine.answer([Row("fox", huge), *sane, Row("fox", huge, "choose", ("a", "b"))])
    assert isinstance(answers[0], Failure)
    assert isinstance(answers[-1], Failure)
    assert answers[0].code == answers[-1].code == "not_finite"
    assert [told(answer) for answer in answers[1:-1]] == [told(answer) for answer in engine.answer(sane)]


def test_an_adapter_that_overflows_fails_only_the_rows_that_name_it(zoo: Zoo, tmp_path: Path) -> None:
    """Rows that mix by `cat` share a product; what is infinite there is asked again."""
    wild = save_adapter(
        zoo.model, tmp_path / "wild", 9, r=4, lora_alpha=4, target_modules=["down_proj", "q_proj"]
    )
    weights = load_file(wild.directory / "adapter_model.safetensors")
    save_file(
        {name: tensor * 1e38 for name, tensor in weights.items()},
        wild.directory / "adapter_model.safetensors",
    )
    sha256 = content_hash(wild.directory)
    engine = zoo.engine()
    engine.bank.ensure({sha256: wild.directory})
    parts = tuple(Component(adapter.sha256, 0.25) for adapter in zoo.all)
    sane = [
        Row(text, Recipe("cat", 1.0, "float32", some), *kind)
        for text, some, kind in (
            ("fox", parts[:2], ()),
            ("old maps", parts[1:], ("choose", ("a", "bell tin"))),
            ("pale", (), ()),
        )
    ]
    broken = Row("fox", Recipe("cat", 1.0, "float32", (Component(sha256, 1.0), parts[0])))
    first, *others = engine.answer([broken, *sane])
    assert isinstance(first, Failure)
    assert first.code == "not_finite"
    assert [told(answer) for answer in others] == [told(answer) for answer in engine.answer(sane)]


def test_a_mixture_that_breaks_fails_alone(zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = zoo.engine()
    rows = mixed_rows(zoo, 5, seed=4)
    expected = [told(answer) for answer in engine.answer(rows)]
    compose = engine._composer.compose

    def breaks(recipes: list[Recipe]) -> object:
        if rows[2].recipe in recipes:
            raise RuntimeError("out of order")
        return compose(recipes)

    monkeypatch.setattr(engine._composer, "compose", breaks)
    answers = engine.answer(rows)
    assert answers[2] == Failure("internal", "RuntimeError: out of order")
    assert [told(one) for place, one in enumerate(answers) if place != 2] == expected[:2] + expected[3:]


@pytest.mark.parametrize(("dtype", "apart"), [("bfloat16", 0.15), ("float16", 0.02)])
def test_short_numbers_run_the_same_code(dtype: str, apart: float, zoo: Zoo) -> None:
    exact, rough = zoo.engine(), zoo.engine(dtype=DTYPES[dtype])
    rows = [row for row in mixed_rows(zoo, 16, seed=6) if row.kind == "choose"]
    halves = [
        dataclasses.replace(row, recipe=dataclasses.replace(row.recipe, dtype=dtype), normalization="tokens")
        for row in rows
    ]
    wholes = [dataclasses.replace(row, normalization="tokens") for row in rows]
    for half, whole in zip(rough.answer(halves), exact.answer(wholes), strict=True):
        assert isinstance(half, RowResult)
        assert isinstance(whole, RowResult)
        assert half.scores == pytest.approx(whole.scores, rel=apart, abs=2 * apart)
        assert half.merge.update_norm == pytest.approx(whole.merge.update_norm, rel=0.02)


def test_a_recipe_for_another_dtype_is_refused(zoo: Zoo, engine: Engine) -> None:
    [answer] = engine.answer([Row("fox", recipe(zoo, random.Random(0), dtype="bfloat16"))])
    assert isinstance(answer, Failure)
    assert answer.code == "invalid_argument"
