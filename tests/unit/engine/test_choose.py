"""Scores of choices are log-likelihoods, computed from one pass over the prompt."""

import copy
import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from tests.fix_models import CONTEXT, FAMILIES, Zoo, byte_tokenizer
from tests.unit.engine.rows import BARE, mixed_rows

from loradex.worker.engine.choose import normalised
from loradex.worker.engine.engine import Engine
from loradex.worker.engine.rows import Row, RowResult
from loradex.worker.isolation import Failure


@torch.inference_mode()
def likelihood(engine: Engine, row: Row, choice: str) -> float:
    """The plain way: one full pass over prompt and choice."""
    prompt, tokens = engine.text.prompt(row.prompt_text), list(engine.text.answer(choice))
    engine._switch.current = engine.compose([row.recipe])[0]
    logits = engine.model(input_ids=torch.tensor([prompt + tokens])).logits[0, len(prompt) - 1 : -1].double()
    engine._switch.current = None
    return float(torch.log_softmax(logits, -1)[range(len(tokens)), tokens].sum())


@pytest.mark.parametrize("family", FAMILIES)
def test_scores_are_those_of_full_passes(family: str, zoos: Callable[[str], Zoo]) -> None:
    zoo = zoos(family)
    engine = zoo.engine()
    rows = [row for row in mixed_rows(zoo, 24, seed=1) if row.kind == "choose"]
    for row, answer in zip(rows, engine.answer(rows), strict=True):
        assert isinstance(answer, RowResult)
        assert answer.scores is not None
        expected = [
            normalised(
                likelihood(engine, row, choice), choice, len(engine.text.answer(choice)), row.normalization
            )
            for choice in row.choices
        ]
        assert answer.scores == pytest.approx(expected, rel=1e-4, abs=1e-4)
        assert answer.text == answer.choice == row.choices[answer.scores.index(max(answer.scores))]


def test_the_prompt_is_computed_once(zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = zoo.engine()
    read: list[torch.Size] = []
    run = engine._forward._run
    monkeypatch.setattr(
        engine._forward, "_run", lambda tokens, *rest: (read.append(tokens.shape), run(tokens, *rest))[1]
    )
    row = Row("seven foxes", BARE, "choose", ("ab", "abc", "d"))
    engine.answer([row])
    prompt = len(engine.text.prompt(row.prompt_text))
    inputs = sum(len(engine.text.answer(choice)) - 1 for choice in row.choices)
    assert read == [(1, prompt), (1, inputs)]


def test_logits_of_long_choices_are_held_in_parts(zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = zoo.engine()
    rows = [row for row in mixed_rows(zoo, 18, seed=7) if row.kind == "choose"]
    whole = [answer.scores for answer in engine.answer(rows) if isinstance(answer, RowResult)]
    monkeypatch.setattr("loradex.worker.engine.choose.LOGIT_TOKENS", 1)
    parts = [answer.scores for answer in engine.answer(rows) if isinstance(answer, RowResult)]
    assert len(parts) == len(rows)
    for part, scores in zip(parts, whole, strict=True):
        assert part == pytest.approx(scores, abs=1e-4)


def test_normalizations() -> None:
    assert normalised(-6.0, "ä b", 3, "none") == -6.0
    assert normalised(-6.0, "ä b", 3, "tokens") == -2.0
    assert normalised(-6.0, "ä b", 3, "bytes") == -1.5


@pytest.mark.parametrize("choices", [(), ("yes", " ")])
def test_choices_must_say_something(choices: tuple[str, ...], engine: Engine) -> None:
    [answer] = engine.answer([Row("fox", BARE, "choose", choices)])
    assert isinstance(answer, Failure)
    assert answer.code == "invalid_argument"


def test_a_choice_that_does_not_fit_is_refused(engine: Engine) -> None:
    [answer] = engine.answer([Row("fox", BARE, "choose", ("x" * CONTEXT,))])
    assert isinstance(answer, Failure)
    assert answer.code == "prompt_too_long"


def test_a_token_that_the_model_does_not_have_is_refused(zoo: Zoo) -> None:
    """Somebody added it to the tokenizer, and nobody made room for it in the model."""
    tokenizer = byte_tokenizer()
    tokenizer.add_tokens(["wyvern"])
    engine = Engine(copy.deepcopy(zoo.model), tokenizer, bank_bytes=1 << 20)
    rows = [
        Row("a wyvern", BARE),
        Row("a fox", BARE, "choose", ("sleeps", "is a wyvern")),
        Row("a fox", BARE, max_new_tokens=1),
    ]
    *refused, answered = engine.answer(rows)
    for one in refused:
        assert isinstance(one, Failure)
        assert one.code == "invalid_argument"
        assert f"'wyvern' as token {len(tokenizer) - 1}" in one.message
    assert isinstance(answered, RowResult)


def test_choices_after_one_that_is_too_long_are_not_read(zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = zoo.engine()
    read: list[str] = []
    answer = engine.text.answer
    monkeypatch.setattr(engine.text, "answer", lambda text: (read.append(text[:4]), answer(text))[1])
    [refused] = engine.answer([Row("fox", BARE, "choose", ("lark", "x" * 5_000, "drum"))])
    assert isinstance(refused, Failure)
    assert "a choice has 500" in refused.message
    assert read == ["lark", "xxxx"]


def test_a_prior_turns_the_choice_and_leaves_the_scores(engine: Engine) -> None:
    """What is taken off is log share: the likelier a choice is by its words alone, the more it has to show."""
    plain = Row("a fox", BARE, "choose", ("barks", "sleeps"))
    (bare,) = engine.answer([plain])
    assert isinstance(bare, RowResult)
    assert bare.scores is not None
    best = max(bare.scores)
    favoured = tuple(0.99 if score == best else 0.01 for score in bare.scores)
    rows = [replace(plain, prior=prior) for prior in ((0.5, 0.5), favoured)]
    even, turned = engine.answer(rows)
    assert isinstance(even, RowResult)
    assert isinstance(turned, RowResult)
    assert even.choice == even.text == bare.choice
    assert turned.scores == even.scores == pytest.approx(bare.scores)
    judged = [score - math.log(share) for score, share in zip(bare.scores, favoured, strict=True)]
    assert turned.choice == plain.choices[judged.index(max(judged))]
    assert turned.choice != bare.choice, "these two are less than log 99 apart"
