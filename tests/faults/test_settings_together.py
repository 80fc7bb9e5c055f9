"""Any two or three settings of a text together: what each promises holds beside the others, alone and in company.

`make faults` draws many hundreds of them by the hypothesis profile `hostile`, `make test` a few.
"""

import dataclasses
import json
import re
from collections.abc import Collection, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from tests.fix_models import Zoo
from tests.plain_generate import generated, processed
from tests.unit.engine.rows import BARE, mixed_rows
from torch import Tensor

from loradex.worker.engine.engine import Engine
from loradex.worker.engine.framed import Framed
from loradex.worker.engine.grammars import margin_of
from loradex.worker.engine.margin import own_text
from loradex.worker.engine.protocol import Finished, Wrote
from loradex.worker.engine.rows import Logprobs, Row, RowResult

ALL = settings.default.max_examples if settings.default is not None else 0
CASES = settings(max_examples=1200 if ALL > 100 else 20)
ENDS = frozenset({1, *range(96, 190, 3)})
"""Bytes that are no ASCII, so that no constraint below needs them; a random model writes one now and then."""
SEVERAL = 3
PETS = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 4}, "legs": {"type": "integer", "maximum": 4}},
    "required": ["name", "legs"],
    "additionalProperties": False,
}
HELD = [
    *(
        {"regex": one}
        for one in ("yes|no|perhaps", r"\d{3}-\d{4}", " *[a-c]{2,6} ", "(ab)*c?", r"[a-z ]{0,9}\.")
    ),
    *(
        {"json_schema": json.dumps(one)}
        for one in (PETS, {"enum": ["play", 'a "b"', 3]}, {"type": "boolean"})
    ),
]
PENALTY = st.sampled_from([-2.0, -0.3, 0.5, 2.0])
TOKENS = st.integers(0, 257)
WISHES: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "held": st.sampled_from(HELD),
    **{
        name: values.map(lambda value, name=name: {name: value})
        for name, values in {
            "stop": st.lists(
                st.sampled_from([" ", "-", '"', "a", "\n", "e", "th", "a ", " b", "ab", "\ufffd", ": "]),
                min_size=1,
                max_size=4,
                unique=True,
            ).map(tuple),
            "min_tokens": st.integers(1, 20),
            "logprobs": st.integers(0, 20),
            "sampling_top_k": st.sampled_from([1, 2, 40, 1_000_000]),
            "sampling_top_p": st.sampled_from([1e-6, 0.3, 0.9, 0.999]),
            "sampling_min_p": st.sampled_from([1e-4, 0.1, 1.0]),
            "repetition_penalty": st.sampled_from([0.01, 0.8, 1.3, 100.0]),
            "presence_penalty": PENALTY,
            "frequency_penalty": PENALTY,
            "logit_bias": st.dictionaries(
                TOKENS, st.sampled_from([-100.0, -100.0, -3.0, 4.0, 100.0]), min_size=1, max_size=40
            ).map(lambda biases: tuple(sorted(biases.items()))),
            "sampling_temperature": st.sampled_from([0.01, 0.7, 100.0]),
            "several": st.just(SEVERAL),
        }.items()
    },
}

NAMES = (*WISHES, *("held", "stop") * 3)
"""What ends a text is asked for more often: most of the others meet in one formula, and these in none."""


@pytest.fixture(scope="module")
def ending(zoo: Zoo) -> Engine:
    """An engine whose model comes to an end now and then."""
    return zoo.engine(ends=ENDS)


@st.composite
def asked(draw: st.DrawFn) -> list[Row]:
    """The rows of one request: a row with two or three wishes, or several that differ in their seeds."""
    names = draw(st.lists(st.sampled_from(NAMES), min_size=2, max_size=3, unique=True))
    wished: dict[str, Any] = {"sampling_temperature": draw(st.sampled_from([0.0, 1.0]))}
    for name in names:
        wished |= draw(WISHES[name])
    several = wished.pop("several", 1)
    most = draw(st.integers(max(1, wished.get("min_tokens", 1)), 24))
    prompt = Framed(
        ("", draw(st.sampled_from(["old maps", "a", "Is it - so?\n"])), "\nAnswer:"),
        spaced=draw(st.booleans()),
    )
    seed = draw(st.integers(0, 2**63 - 1 - several))
    row = Row(prompt, BARE, max_new_tokens=most, seed=seed, **wished)
    return [dataclasses.replace(row, seed=seed + place) for place in range(several)]


@CASES
@given(rows=asked(), company=st.integers(0, 5))
def test_settings_keep_their_promises_beside_each_other(
    zoo: Zoo, ending: Engine, rows: list[Row], company: int
) -> None:
    answers = [ending.answer([row])[0] for row in rows]
    others = mixed_rows(zoo, company)
    pieces, together = streamed(ending, [*others[:2], *rows, *others[2:]])
    for place, (row, answer) in enumerate(zip(rows, answers, strict=True), start=min(2, company)):
        assert isinstance(answer, RowResult), answer
        beside = together[place]
        assert isinstance(beside, RowResult), beside
        assert (beside.text, beside.token_ids, beside.finish_reason) == (
            answer.text,
            answer.token_ids,
            answer.finish_reason,
        )
        assert pieces.get(place, "") == answer.text
        ids = ending.text.prompt(row.prompt_text)
        require_text(ending, row, answer)
        with torch.inference_mode():
            logits = zoo.model(torch.tensor([[*ids, *answer.token_ids]])).logits[0, len(ids) - 1 : -1]
        require_logprobs(row, answer, logits)
        if margin_of(row) is None:
            require_tokens(row, answer.token_ids, ids, logits)
            if row.sampling_temperature == 0:
                whole = generated(zoo.model, ids, row, ENDS)
                assert list(answer.token_ids) == whole[: len(answer.token_ids)]
                assert len(answer.token_ids) == len(whole) or any(
                    one in ending.text.raw(answer.token_ids) for one in row.stop
                )


def streamed(engine: Engine, rows: Sequence[Row]) -> tuple[dict[object, str], dict[object, object]]:
    """The pieces of each row joined, and what came of it."""
    pieces: dict[object, str] = {}
    ended: dict[object, object] = {}
    for place, row in enumerate(rows):
        engine.add(place, row)
    while engine.usage().running or engine.usage().waiting:
        for event in engine.step():
            if isinstance(event, Wrote):
                pieces[event.ticket] = pieces.get(event.ticket, "") + event.text
            else:
                ended[event.ticket] = event.result if isinstance(event, Finished) else event.failure
    return pieces, ended


def require_text(engine: Engine, row: Row, answer: RowResult) -> None:
    """Its text is what its tokens say before the first stop string, it ends for a reason, and is what it is held to."""
    tokens, margin = answer.token_ids, margin_of(row)
    raw = engine.text.raw(tokens).removeprefix(margin or "")
    found = [(raw.index(one) + len(one), raw.index(one)) for one in row.stop if one in raw]
    cut = raw[: min(found)[1]] if found else raw
    assert answer.text == (own_text(cut) if margin is None else cut)
    assert not any(one in answer.text for one in row.stop)
    before = engine.text.raw(tokens[:-1]).removeprefix(margin or "")
    # Half a character at the end is not looked at before its other half is there.
    assert not any(one in before.rstrip("\ufffd") for one in row.stop), "it went on"
    assert 1 <= len(tokens) <= row.max_new_tokens
    assert not ENDS & set(tokens[:-1])
    assert not ENDS & set(tokens[: row.min_tokens])
    by_end = tokens[-1] in ENDS
    if answer.finish_reason == "length":
        assert len(tokens) == row.max_new_tokens
        assert not by_end
        assert not found
    else:
        assert answer.finish_reason == "stop"
        assert by_end or found or margin is not None
        assert found or margin is not None or len(tokens) >= row.min_tokens
        assert found or margin is None or fits(row, before if by_end else raw)


def fits(row: Row, text: str) -> bool:
    if row.regex is not None:
        return re.fullmatch(row.regex, text) is not None
    return bool(Draft202012Validator(json.loads(row.json_schema or "")).is_valid(json.loads(text)))


def require_logprobs(row: Row, answer: RowResult, logits: Tensor) -> None:
    """They are the model's own, likeliest first, one for each token, and told only where they are asked for."""
    assert (answer.logprobs is None) == (row.logprobs is None)
    assert len(answer.logprobs or answer.token_ids) == len(answer.token_ids)
    expected = torch.log_softmax(logits.double(), -1)
    for place, told in enumerate(answer.logprobs or ()):
        assert isinstance(told, Logprobs)
        assert told.token == answer.token_ids[place]
        assert told.logprob == pytest.approx(float(expected[place, told.token]), abs=1e-4)
        values = [value for _, value in told.likeliest]
        assert len(values) == row.logprobs
        assert values == sorted(values, reverse=True)
        assert all(value <= 0 for value in [*values, told.logprob])
        assert told.logprob <= (values or [0.0])[0]
        assert all(token in answer.token_texts for token, _ in told.likeliest)


def require_tokens(row: Row, tokens: Sequence[int], prompt: Sequence[int], logits: Tensor) -> None:
    """Each token is one that transformers leaves at its place, but for rounding; the likeliest where none is drawn."""
    for place, token in enumerate(tokens):
        scores = processed(logits[place], prompt, tokens[:place], row, ENDS).double()
        near = 1e-4 * (1 + float(scores[scores.isfinite()].abs().max()))
        if row.sampling_temperature == 0:
            assert scores[token] >= scores.max() - near
            continue
        ordered = scores.sort(descending=True).values
        last = ordered[min(row.sampling_top_k or len(ordered), len(ordered)) - 1]
        assert scores[token] >= last - near, "top-k"
        shares = torch.softmax(scores.masked_fill(scores < last, -torch.inf) / row.sampling_temperature, -1)
        warm = near / row.sampling_temperature
        likelier = shares[scores > scores[token] + near].sum()
        assert likelier <= row.sampling_top_p * (1 + warm) + 1e-6, "top-p"
        assert shares[token] >= row.sampling_min_p * shares.max() * (1 - 2 * warm) - 1e-12, "min-p"
    require_forbidden(row, tokens, [token for token, add in row.logit_bias if add == -100.0])


def require_forbidden(row: Row, tokens: Sequence[int], forbidden: Collection[int]) -> None:
    """A token with a bias of -100 is not written, unless a penalty or a temperature is as strong as that."""
    mild = row.repetition_penalty in {1.0, 1.3} and row.sampling_temperature <= 1
    assert not mild or not set(forbidden) & set(tokens)
