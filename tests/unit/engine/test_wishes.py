"""What a row wishes of its tokens is what transformers' processors and OpenAI's formulas make of it."""

import dataclasses
import math
import random

import pytest
import torch
from tests.fix_models import Zoo
from tests.plain_generate import OpenAiPenalties, generated
from tests.unit.engine.rows import BARE, mixed_rows, sentence
from transformers import RepetitionPenaltyLogitsProcessor

from loradex.worker.engine.edits import Edits, edited
from loradex.worker.engine.engine import Engine
from loradex.worker.engine.rows import Row, RowResult
from loradex.worker.engine.sampling import Sampler, pick
from loradex.worker.isolation import Failure

ENDS = frozenset({1, *range(40, 250, 5)})


def wishing_rows(count: int, seed: int) -> list[Row]:
    numbers = random.Random(seed)
    return [
        Row(
            sentence(numbers, numbers.randint(1, 9)) + "\nAnswer:",
            BARE,
            max_new_tokens=20,
            min_tokens=numbers.choice([0, 3, 20]),
            repetition_penalty=numbers.choice([1.0, 0.7, 1.3, 2.0]),
            presence_penalty=numbers.choice([0.0, 1.5, -1.0]),
            frequency_penalty=numbers.choice([0.0, 0.5, 2.0, -0.3]),
            logit_bias=numbers.choice([(), ((5, 3.0), (77, -4.5)), ((200, 100.0), (1, 2.0))]),
            logprobs=numbers.choice([None, 0, 3]),
            seed=place,
        )
        for place in range(count)
    ]


def test_greedy_tokens_with_penalties_are_those_of_generate(zoo: Zoo) -> None:
    engine = zoo.engine(ends=ENDS)
    rows = wishing_rows(24, seed=1)
    lengths = set()
    for row, answer in zip(rows, engine.answer(rows), strict=True):
        assert isinstance(answer, RowResult), answer
        assert list(answer.token_ids) == generated(
            zoo.model, engine.text.prompt(row.prompt_text), row, ENDS
        ), row
        assert len(answer.token_ids) >= row.min_tokens
        lengths.add(len(answer.token_ids))
    assert len(lengths) > 3


def test_a_row_writes_the_same_alone_and_in_any_batch(zoo: Zoo, engine: Engine) -> None:
    numbers = random.Random(7)
    rows = [
        dataclasses.replace(
            row,
            sampling_temperature=numbers.choice([0.0, 0.8, 1.4]),
            sampling_top_k=numbers.choice([0, 1, 40]),
            sampling_top_p=numbers.choice([0.6, 1.0]),
            sampling_min_p=numbers.choice([0.0, 0.05]),
            stop=numbers.choice([(), ("e",), ("th", "\n")]),
        )
        for row in wishing_rows(12, seed=2)
    ]
    batches = (rows, rows[::-1], [*rows[:5], *mixed_rows(zoo, 6), *rows[5:]])
    answers = [dict(zip(map(repr, batch), engine.answer(batch), strict=True)) for batch in batches]
    for row in rows:
        [alone] = engine.answer([row])
        assert isinstance(alone, RowResult)
        for found in (one[repr(row)] for one in answers):
            assert isinstance(found, RowResult)
            assert (found.text, found.token_ids, found.finish_reason) == (
                alone.text,
                alone.token_ids,
                alone.finish_reason,
            )


def test_logprobs_are_the_models_own_whatever_is_wished_beside(zoo: Zoo, engine: Engine) -> None:
    row = Row(
        "old maps", BARE, max_new_tokens=6, repetition_penalty=1.5, sampling_temperature=2.0, logprobs=4
    )
    [answer] = engine.answer([row])
    assert isinstance(answer, RowResult)
    assert answer.logprobs is not None
    ids = [*engine.text.prompt(row.prompt_text), *answer.token_ids]
    with torch.inference_mode():
        logits = zoo.model(torch.tensor([ids])).logits[0, -len(answer.token_ids) - 1 : -1]
    expected = torch.log_softmax(logits.double(), -1)
    for place, told in enumerate(answer.logprobs):
        values, tokens = expected[place].topk(4)
        assert told.token == answer.token_ids[place]
        assert told.logprob == pytest.approx(float(expected[place, told.token]), abs=1e-5)
        assert [token for token, _ in told.likeliest] == tokens.tolist()
        assert [value for _, value in told.likeliest] == pytest.approx(values.tolist(), abs=1e-5)
        assert all(answer.token_texts[token] == engine.text.token(token) for token, _ in told.likeliest)
    [plain, own] = engine.answer(
        [dataclasses.replace(row, logprobs=None), dataclasses.replace(row, logprobs=0)]
    )
    assert isinstance(plain, RowResult)
    assert isinstance(own, RowResult)
    assert plain.logprobs is None
    assert own.logprobs is not None
    assert all(one.likeliest == () for one in own.logprobs)
    assert [one.logprob for one in own.logprobs] == pytest.approx(
        [one.logprob for one in answer.logprobs], abs=1e-5
    )


def test_a_stop_string_ends_a_row_and_is_not_in_its_text(zoo: Zoo, engine: Engine) -> None:
    rows = [Row(prompt, BARE, max_new_tokens=30) for prompt in ("a fox", "drum and bell", "seven")]
    for row, answer in zip(rows, engine.answer(rows), strict=True):
        assert isinstance(answer, RowResult)
        stop = next(one for one in answer.text[3:] if one.isascii() and one.isalnum())
        cut = answer.text.index(stop)
        [other] = engine.answer([dataclasses.replace(row, stop=("never written", stop))])
        assert isinstance(other, RowResult)
        assert other.text == answer.text[:cut].rstrip()
        assert other.finish_reason == "stop"
        assert other.token_ids == answer.token_ids[: len(other.token_ids)]
        assert stop in engine.text.raw(other.token_ids)
        assert stop not in engine.text.raw(other.token_ids[:-1])


def test_a_token_that_the_model_does_not_have_is_refused_alone(zoo: Zoo, engine: Engine) -> None:
    row = Row("a fox", BARE, max_new_tokens=2)
    vocabulary = zoo.model.config.vocab_size
    good, bad = engine.answer([row, dataclasses.replace(row, logit_bias=((vocabulary, 1.0),))])
    assert isinstance(good, RowResult)
    assert isinstance(bad, Failure)
    assert f"has tokens 0 to {vocabulary - 1}" in bad.message


@pytest.mark.parametrize("repetition", [1.0, 1.7])
def test_any_number_of_tokens_is_remembered(repetition: float) -> None:
    numbers = random.Random(3)
    prompt = [numbers.randrange(2000) for _ in range(300)]
    row = Row("a", BARE, repetition_penalty=repetition, presence_penalty=0.25, frequency_penalty=0.5)
    edits = Edits(row, prompt, frozenset())
    written = [int(numbers.triangular(0, 1999, 0)) for _ in range(700)]
    for token in written:
        edits.take(token)
    logits = torch.randn((1, 2000), generator=torch.Generator().manual_seed(1))
    expected = OpenAiPenalties(len(prompt), 0.25, 0.5)(
        torch.tensor([prompt + written]),
        RepetitionPenaltyLogitsProcessor(repetition)(torch.tensor([prompt + written]), logits.clone()),
    )
    assert torch.equal(edited(logits, [edits]), expected)


def test_rows_whose_logits_are_not_finite_are_told_and_the_others_picked() -> None:
    logits = torch.randn((5, 50), generator=torch.Generator().manual_seed(0))
    logits[1, 3], logits[3, 7], logits[0, 9] = math.nan, math.inf, -math.inf
    row = Row("a", BARE, sampling_temperature=1.0, repetition_penalty=1.2, logprobs=2, seed=5)
    samplers = [Sampler.of(row, [4, 4, 6], frozenset({1})) for _ in range(5)]
    picked = pick(logits, samplers)
    assert [one.finite for one in picked] == [True, False, True, False, True]
    for place in (0, 2, 4):
        assert pick(logits[[place]], [Sampler.of(row, [4, 4, 6], frozenset({1}))]) == [picked[place]]
