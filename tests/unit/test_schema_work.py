"""What would take long to read is refused before anything reads it; what people write is read."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loradex import schema_work
from loradex.constraint import Constraint
from loradex.errors import ConstraintRefusedError
from loradex.schema_work import DEEPEST, MOST_PATTERNS, PASSES, TooMuchWorkError, require_little_work

PRIMES = (101, 103, 107, 109)


def nested(keyword: str, levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "null"}
    for level in range(levels):
        schema = {keyword: [schema, {"type": "string", "maxLength": level}]}
    return schema


def patterns(count: int) -> list[Any]:
    return [{"type": "string", "pattern": f"a{{{number}}}b"} for number in range(count)]


def names(count: int, letter: str = "a") -> dict[str, Any]:
    return {"patternProperties": {f"^{letter}{number:04d}$": {"type": "integer"} for number in range(count)}}


def referred(count: int, **beside: Any) -> dict[str, Any]:
    places = {f"p{number}": {"$ref": "#/$defs/x", "minProperties": 0} for number in range(count)}
    return {"$defs": {"x": beside}, "type": "object", "properties": places}


WORDS = [f"{number:05d}" for number in range(5000)]
TWICE = {
    f"d{level}": {"allOf": [{"$ref": f"#/$defs/d{level + 1}"}, {"$ref": f"#/$defs/d{level + 1}"}]}
    for level in range(40)
}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a great multiple": ({"type": "integer", "multipleOf": 999_983}, "too long"),
    "a power of two": ({"type": "integer", "multipleOf": 2**31}, "too long"),
    "a fraction with many digits": ({"type": "number", "multipleOf": 0.99991}, "too long"),
    "multiples that hold at once": ({"allOf": [{"multipleOf": one} for one in PRIMES]}, "too long"),
    "a multiple in many places": (
        {"properties": {str(one): {"multipleOf": one} for one in range(9001, 9011)}},
        "too",
    ),
    "a multiple beside multiples": ({"multipleOf": 97, "anyOf": [{"multipleOf": 101}] * 49}, "too long"),
    "patterns that hold at once": ({"allOf": patterns(32)}, "32 patterns"),
    "patterns below a merge": (
        {"allOf": [{"type": "object", "properties": {"a": one}} for one in patterns(20)]},
        "20 patterns",
    ),
    "patterns through references": (
        {"$defs": TWICE | {"d40": {"pattern": "a"}}, "$ref": "#/$defs/d0"},
        "patterns",
    ),
    "an escaped reference": (
        {"$defs": {"a/b": {"allOf": patterns(9)}}, "properties": {"x": {"$ref": "#/%24defs/a~1b"}}},
        "9 patterns",
    ),
    "names by patterns": ({"type": "object", **names(300)}, "too long"),
    "names beside alternatives": (
        {"type": "object", **names(50), "anyOf": [{"properties": {f"q{one}": {}}} for one in range(100)]},
        "too long",
    ),
    "names in many places": (referred(100, **names(60)), "too long"),
    "names below a merge": (
        {"allOf": [{"properties": {"a": names(100, letter)}} for letter in "abcd"]},
        "too long",
    ),
    "values with a pattern": ({"enum": WORDS, "pattern": "1"}, "too long"),
    "values with a length": ({"allOf": [{"enum": WORDS}, {"maxLength": 3}]}, "too long"),
    "values that are objects": ({"enum": [{"a": one, "b": [one]} for one in range(1500)]}, "too long"),
    "ranges": ({"anyOf": [{"minimum": one, "maximum": 10**15 + one} for one in range(900)]}, "too long"),
    "alternatives in alternatives": (nested("anyOf", DEEPEST), "levels deep"),
    "all of in all of": (nested("allOf", DEEPEST), "levels deep"),
    "one of in one of": (nested("oneOf", DEEPEST), "levels deep"),
    "a deep value": ({"const": json.loads("[" * DEEPEST + "]" * DEEPEST)}, "levels deep"),
    "merged with itself": (
        {"$defs": {"a": {"allOf": [{"$ref": "#/$defs/a"}, {"pattern": "a"}]}}, "$ref": "#/$defs/a"},
        "itself",
    ),
    "another base": ({"properties": {"a": {"$id": "x"}}}, r"\$id"),
    "an anchor": ({"$ref": "#there"}, "fetch"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_takes_long_is_refused_before_a_library_reads_it(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    llguidance = pytest.importorskip("llguidance")
    schema, reason = REFUSED[what]
    monkeypatch.delattr(llguidance.LLMatcher, "grammar_from_json_schema", raising=False)
    with pytest.raises(ConstraintRefusedError, match=reason):
        Constraint(json_schema=json.dumps(schema)).require_readable()


PERSON = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$id": "https://example.com/person",
    "$defs": {
        "place": {"type": "object", "properties": {"city": {"type": "string", "pattern": "^[A-Z]"}}},
        "person": {
            "type": "object",
            "properties": {
                "$id": {"type": "string", "format": "uuid"},
                "age": {"type": "integer", "minimum": 0, "maximum": 150, "multipleOf": 5},
                "price": {"type": "number", "multipleOf": 0.01},
                "home": {"$ref": "#/$defs/place", "description": "where"},
                "friends": {"type": "array", "items": {"$ref": "#/$defs/person"}},
                "best": {"anyOf": [{"$ref": "#/$defs/person"}, {"type": "null"}], "default": None},
            },
        },
    },
    "$ref": "#/$defs/person",
}
READ: dict[str, dict[str, Any]] = {
    "a person": PERSON,
    "a tree": {"type": "object", "properties": {"l": {"$ref": "#"}, "r": {"$ref": "#"}}},
    "a reference round a corner": {"$defs": {"a": {"items": {"$ref": "#"}}}, "items": {"$ref": "#/$defs/a"}},
    "many words": {"enum": WORDS},
    "some words with a length": {"type": "string", "enum": WORDS[:500], "maxLength": 9},
    "many places with a pattern": {"properties": {f"p{one}": patterns(9)[one % 9] for one in range(300)}},
    "names by patterns": {"type": "object", **names(30)},
    "long lists": {"type": "array", "minItems": 10**6, "items": {"type": "array", "maxItems": 10**9}},
    "long texts": {"type": "string", "minLength": 10**8, "maxLength": 10**9},
    "tens": {"anyOf": [{"type": "integer", "multipleOf": 10**6}, {"type": "integer", "multipleOf": 2**12}]},
    "a nest": nested("anyOf", DEEPEST // 2 - 2),
    "as many patterns as may": {"allOf": [{"type": "string", "pattern": "a"}] * MOST_PATTERNS},
}


@pytest.mark.parametrize("what", READ)
def test_what_people_write_is_read(what: str) -> None:
    Constraint(json_schema=json.dumps(READ[what])).require_readable()


def test_what_json_cannot_say_is_refused() -> None:
    with pytest.raises(ConstraintRefusedError, match="json_schema"):
        Constraint(json_schema='{"const": 1e999}').require_readable()


KEYWORDS = st.sampled_from(["anyOf", "allOf", "oneOf", "prefixItems"])
REFERENCES = st.integers(0, 5).map(lambda place: {"$ref": f"#/$defs/d{place}"})
SCHEMAS = st.recursive(
    REFERENCES | st.sampled_from([{"pattern": "a"}, {"enum": [1, [2]]}, {"multipleOf": 7}, True, 3]),
    lambda inner: (
        st.dictionaries(KEYWORDS, st.lists(inner, max_size=4), max_size=2)
        | st.builds(
            lambda one, many: {"items": one, "properties": many}, inner, st.dictionaries(st.text("ab"), inner)
        )
    ),
    max_leaves=20,
)


@given(st.lists(SCHEMAS, min_size=6, max_size=6))
def test_each_place_is_looked_at_a_few_times_however_they_refer_to_each_other(definitions: list[Any]) -> None:
    schema = {"$defs": {f"d{place}": one for place, one in enumerate(definitions)}, "$ref": "#/$defs/d0"}
    schema = json.loads(json.dumps(schema))
    looked = 0
    own = schema_work.own

    def counted(one: Any) -> Any:
        nonlocal looked
        looked += 1
        return own(one)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(schema_work, "own", counted)
        with suppress(TooMuchWorkError):
            require_little_work(schema)
    assert looked <= PASSES * json.dumps(schema).count("{")
