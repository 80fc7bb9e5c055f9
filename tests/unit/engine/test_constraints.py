"""A text that is held to a schema or a pattern is valid by it, alone and beside others, whatever else it is asked."""

import dataclasses
import json
import random
import re
import time
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from tests.fix_models import Zoo
from tests.tokenizers_at_hand import AT_HAND
from tests.unit.engine.rows import BARE, mixed_rows, sentence

from loradex.constraint import ANY_OBJECT, Constraint
from loradex.errors import ConstraintRefusedError
from loradex.worker.engine.constrained import Constrained
from loradex.worker.engine.engine import Engine
from loradex.worker.engine.framed import Framed
from loradex.worker.engine.grammars import KEPT, Grammars, margin_of
from loradex.worker.engine.rows import Row, RowResult
from loradex.worker.engine.text import Text
from loradex.worker.engine.written_text import WrittenText
from loradex.worker.isolation import Failure

PERSON = json.dumps(
    {
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 8},
            "age": {"type": "integer", "minimum": 0, "maximum": 150},
            "tags": {"type": "array", "items": {"enum": ["old", "new", 'a "b"']}, "maxItems": 2},
        },
        "required": ["name", "age", "tags"],
        "additionalProperties": False,
    }
)
PATTERNS = (
    r"yes|no",
    r"\d{3}-\d{4}",
    r" *[a-c]{2,6} ",
    r"(ab)*c?",
    r"[a-z0-9]+@[a-z]{1,5}\.(com|org)",
    "é+\\n?x|z",
)


def held_rows(count: int, seed: int, **wishes: Any) -> list[Row]:
    numbers = random.Random(seed)
    return [
        Row(
            Framed(
                ("", sentence(numbers, 3), numbers.choice(["\nAnswer:", ""])),
                spaced=numbers.choice([True, False]),
            ),
            BARE,
            max_new_tokens=90,
            sampling_temperature=numbers.choice([0.0, 1.0, 1.7]),
            seed=place,
            **({"json_schema": PERSON} if place % 3 == 0 else {"regex": PATTERNS[place % len(PATTERNS)]}),
            **wishes,
        )
        for place in range(count)
    ]


def short_texts(count: int) -> list[Row]:
    numbers = random.Random(5)
    return [
        Row(sentence(numbers, 3), BARE, max_new_tokens=8, sampling_temperature=place % 2, seed=place)
        for place in range(count)
    ]


def told(answer: RowResult | Failure) -> tuple[object, ...]:
    if isinstance(answer, Failure):
        return answer.code, answer.message
    return answer.text, answer.token_ids, answer.finish_reason


def unpacked(constrained: Constrained) -> list[int]:
    bits = constrained.allowed.tolist()
    return [8 * place + bit for place, byte in enumerate(bits) for bit in range(8) if byte >> bit & 1]


def fits(row: Row, text: str) -> bool:
    if row.regex is not None:
        return re.fullmatch(row.regex, text) is not None
    return bool(Draft202012Validator(json.loads(row.json_schema or "")).is_valid(json.loads(text)))


@pytest.mark.parametrize(
    "wishes",
    [
        {},
        {"min_tokens": 9, "logprobs": 1},
        {"repetition_penalty": 1.5, "logit_bias": ((36, 90.0), (1, 99.0))},
    ],
    ids=["alone", "least length", "penalties"],
)
def test_a_text_that_came_to_its_end_is_what_it_was_held_to(engine: Engine, wishes: dict[str, Any]) -> None:
    ended = 0
    rows = held_rows(15, 3, **wishes)
    for row, answer in zip(rows, engine.answer(rows), strict=True):
        assert isinstance(answer, RowResult), answer
        if answer.finish_reason == "stop":
            ended += 1
            assert fits(row, answer.text), (row, answer.text)
        else:
            assert answer.output_tokens == row.max_new_tokens
    assert ended > len(rows) // 2


def test_a_held_row_writes_the_same_alone_and_beside_others(zoo: Zoo, engine: Engine) -> None:
    rows = [dataclasses.replace(row, max_new_tokens=30) for row in held_rows(6, 5)]
    others = mixed_rows(zoo, 4)
    free = [dataclasses.replace(row, regex=None, json_schema=None) for row in rows]
    batch = [*others[:2], *rows, *free, *others[2:]]
    together = dict(zip(map(repr, batch), engine.answer(batch), strict=True))
    for row in [*rows, *free]:
        [alone] = engine.answer([row])
        beside = together[repr(row)]
        assert isinstance(alone, RowResult)
        assert isinstance(beside, RowResult)
        assert (alone.text, alone.token_ids, alone.finish_reason) == (
            beside.text,
            beside.token_ids,
            beside.finish_reason,
        )


def test_a_text_ends_with_what_nothing_may_follow_and_no_token_is_spent_on_the_end(engine: Engine) -> None:
    [answer] = engine.answer([Row("old maps", BARE, regex="abc", max_new_tokens=3)])
    assert isinstance(answer, RowResult)
    # One space parts it from the prompt, which does not fit any more.
    assert (answer.text, answer.finish_reason) == ("ab", "length")
    [answer] = engine.answer([Row("old maps", BARE, regex="abc", max_new_tokens=4, min_tokens=4, logprobs=0)])
    assert isinstance(answer, RowResult)
    assert (answer.text, answer.finish_reason, answer.output_tokens) == ("abc", "stop", 4)
    assert answer.logprobs is not None
    assert [one.token for one in answer.logprobs] == list(answer.token_ids)


def test_a_stop_string_ends_a_held_text_too(engine: Engine) -> None:
    [answer] = engine.answer([Row("tin", BARE, regex="[a-c]{3}-[d-f]{3}", stop=("-",), max_new_tokens=20)])
    assert isinstance(answer, RowResult)
    assert answer.finish_reason == "stop"
    assert re.fullmatch("[a-c]{3}", answer.text)


def test_no_stop_string_is_found_in_the_space_before_a_held_text(engine: Engine) -> None:
    row = Row(Framed(("", "x", "\nAnswer:"), spaced=True), BARE, regex="[ab]{2} [ab]{2}", max_new_tokens=20)
    for stop in ((" ",), (" a", " b")):
        [answer] = engine.answer([dataclasses.replace(row, stop=stop)])
        assert isinstance(answer, RowResult)
        assert answer.finish_reason == "stop"
        assert re.fullmatch("[ab]{2}", answer.text)


def test_a_tokenizer_that_cannot_be_followed_is_refused() -> None:
    tokenizer = AT_HAND["unigram"]()
    with pytest.raises(ConstraintRefusedError, match="tokenizer"):
        Grammars(tokenizer, len(tokenizer), frozenset()).of(Row("x", BARE, regex="a"))


@pytest.mark.parametrize("more", [0, 1, 1_000_000])
def test_an_end_beyond_the_vocabulary_is_no_reason_to_refuse(more: int) -> None:
    """As of a model whose tokenizer was given one more token than the model has."""
    tokenizer = AT_HAND["llama"]()
    size = len(tokenizer)
    for ends in ({size + more}, {size + more, tokenizer.eos_token_id}):
        matcher = Grammars(tokenizer, size, frozenset(ends)).of(Row("x", BARE, regex="a"))
        assert matcher is not None
        assert not matcher.is_error()


@pytest.mark.parametrize("family", ["llama", "words", "smollm2"])
def test_tokenizers_of_all_kinds_spell_what_they_are_held_to(family: str) -> None:
    tokenizer = AT_HAND[family]()
    ends = frozenset({tokenizer.eos_token_id} - {None})
    grammars = Grammars(tokenizer, len(tokenizer), ends)
    text = Text(tokenizer)
    for spaced, pattern in ((False, "[a-c]{1,9}[.]"), (True, "[a-c]{1,9}[.]"), (True, " *é?[a-c]+")):
        row = Row(Framed(("", "x", "\n"), spaced=spaced), BARE, regex=pattern)
        for seed in range(3):
            matcher, written = grammars.of(row), WrittenText(text.raw, before=margin_of(row))
            assert matcher is not None
            constrained, tokens = Constrained(matcher.deep_copy(), ends), []
            numbers = random.Random(seed)
            while not constrained.ended and constrained.problem is None and len(tokens) < 40:
                allowed = unpacked(constrained)
                assert allowed
                tokens.append(numbers.choice(allowed))
                if tokens[-1] in ends:
                    break
                constrained.take(tokens[-1])
                written.add(tokens[-1])
            written.rest()
            assert constrained.problem is None
            if constrained.ended or tokens[-1] in ends:
                assert re.fullmatch(pattern, written.text), (tokens, written.text)


@pytest.mark.parametrize(
    ("held", "reason"),
    [
        ({"regex": "(a"}, "unclosed group"),
        ({"regex": r"(a)\1"}, "backreferences are not supported"),
        ({"regex": "(?=a)b"}, "look-around"),
        ({"regex": r"[^\s\S]"}, "no text can be held"),
        ({"regex": "a)|(b"}, "unopened group"),
        ({"json_schema": "{"}, "not JSON"),
        ({"json_schema": "[]"}, "must be an object"),
        ({"json_schema": '{"type": "strin"}'}, "Invalid type"),
        ({"json_schema": '{"type": "array", "uniqueItems": true}'}, "uniqueItems"),
        (
            {"json_schema": '{"type": "array", "uniqueItems": true, "x-guidance": {"lenient": true}}'},
            "uniqueItems",
        ),
        ({"json_schema": '{"$ref": "https://example.com/x.json"}'}, "does not fetch"),
        ({"json_schema": '{"$ref": "#"}'}, "no text can be held"),
        ({"json_schema": json.dumps({"minLength": 5, "maxLength": 3, "type": "string"})}, "Unsatisfiable"),
        ({"json_schema": '{"a":' * 2000 + "1" + "}" * 2000}, "json_schema"),
        ({"json_schema": ANY_OBJECT, "regex": "a"}, "one of them"),
        (
            {"json_schema": json.dumps({"properties": {f"p{n}": {"type": "null"} for n in range(1500)}})},
            "too big",
        ),
        # Read within its bounds, and too many ways to go on once it has begun.
        (
            {
                "json_schema": json.dumps(
                    {"properties": {f"p{n}": {"type": "null"} for n in range(600)}, "type": "object"}
                )
            },
            "constraint lets",
        ),
    ],
)
def test_what_no_text_can_be_held_to_fails_its_row_alone(
    engine: Engine, held: dict[str, str], reason: str
) -> None:
    good = Row("old maps", BARE, max_new_tokens=2)
    refused, fine = engine.answer([Row("old maps", BARE, **held), good])
    assert isinstance(refused, Failure)
    assert refused.code == "constraint_refused"
    assert reason in refused.message
    assert isinstance(fine, RowResult)


PATHOLOGICAL: tuple[dict[str, str], ...] = (
    {"regex": "(a{1,1000}){1,1000}"},
    {"regex": ".*a.{30}"},
    {"regex": "(x+x+)+y"},
    {"regex": "(((a?){50}){50}){50}"},
    {"regex": "|".join(f"w{number}.*z{number}" for number in range(300))},
    {"json_schema": json.dumps({"type": "string", "maxLength": 10**9})},
    {"json_schema": json.dumps({"type": "string", "pattern": "^(.*a.{30}){4}$"})},
    {"json_schema": json.dumps({"enum": [f"{number:06d}" for number in range(20_000)]})},
    {"json_schema": json.dumps({"type": "array", "minItems": 10**6, "items": {"type": "integer"}})},
    # The most that `schema_work` lets through, and what it refuses.
    {"json_schema": json.dumps({"type": "integer", "multipleOf": 15_013})},
    {"json_schema": json.dumps({"type": "integer", "multipleOf": 999_983})},
    {"json_schema": json.dumps({"allOf": [{"type": "string", "pattern": f"a{{{n}}}b"} for n in range(8)]})},
    {"json_schema": json.dumps({"allOf": [{"type": "string", "pattern": f"a{{{n}}}b"} for n in range(40)]})},
    {
        "json_schema": json.dumps(
            {"patternProperties": {f"^a{n:03d}$": {} for n in range(125)}, "type": "object"}
        )
    },
    {
        "json_schema": json.dumps(
            {"patternProperties": {f"^a{n:03d}$": {} for n in range(900)}, "type": "object"}
        )
    },
)
"""What takes exponential time, or as much room, where it is read or followed carelessly."""
SECONDS_OF_ONE = 2.0
"""Of the processor, for a text of 16 tokens; each takes about a tenth."""


def test_a_pathological_constraint_costs_little_and_harms_no_other_row(engine: Engine) -> None:
    others = short_texts(6)
    expected = [told(engine.answer([row])[0]) for row in others]
    for place, held in enumerate(PATHOLOGICAL):
        row = Row("old maps", BARE, max_new_tokens=16, sampling_temperature=1.5, seed=place, **held)
        used = time.process_time()
        [answer] = engine.answer([row])
        assert time.process_time() - used < SECONDS_OF_ONE, held
        together = engine.answer([*others, row])
        assert [told(one) for one in together[:-1]] == expected
        assert told(together[-1]) == told(answer)


def test_a_constraint_is_read_once_and_few_are_kept(zoo: Zoo) -> None:
    engine = zoo.engine()
    grammars = engine._grammars
    row = Row("x", BARE, regex="abc")
    assert grammars.of(row) is grammars.of(dataclasses.replace(row, prompt_text="y"))
    for number in range(KEPT):
        grammars.of(Row("x", BARE, regex=f"a{{{number + 1}}}"))
    assert len(grammars._ready) == KEPT
    engine.fetch({}, Row("x", BARE, regex="(a"))


def test_a_door_without_a_model_refuses_the_same() -> None:
    Constraint(regex="a+").require_readable()
    Constraint(json_schema=ANY_OBJECT).require_readable()
    with pytest.raises(ConstraintRefusedError, match="unclosed group"):
        Constraint(regex="(a").require_readable()
