"""What one place of a JSON schema holds a text to, and the work of reading that, in units of about 3 µs."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final, NamedTuple

_LISTED, _NESTED, _RANGE = 30, 13, 50
_TOO_MUCH = 10**12
_LENGTHS = ("minLength", "maxLength")
_BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
_COUNTED = frozenset(
    {"pattern", "format", "enum", "patternProperties", "properties", "multipleOf", *_LENGTHS, *_BOUNDS}
)


class Held(NamedTuple):
    """What may hold at one place of a text, at most."""

    patterns: int = 0
    lengths: int = 0
    values: int = 0
    names: int = 0
    properties: int = 0
    ranges: int = 0
    remainders: int = 1
    variants: int = 1

    def beside(self, other: "Held") -> "Held":
        """Both hold."""
        if other == NOTHING:
            return self
        added = Held._make(a + b for a, b in zip(self, other, strict=True))
        remainders, variants = self.remainders * other.remainders, self.variants * other.variants
        return added._replace(remainders=remainders).in_variants(variants)

    def either(self, other: "Held") -> "Held":
        """One of them holds, at one place or at two."""
        return self if other == NOTHING else Held._make(map(max, self, other))

    def in_variants(self, variants: int) -> "Held":
        return self._replace(remainders=min(self.remainders, _TOO_MUCH), variants=min(variants, _TOO_MUCH))

    def work(self) -> int:
        pairs = self.names * (self.names + self.properties)
        values = _LISTED * self.values if self.patterns + self.lengths else 0
        patterns = _LISTED * self.patterns if self.patterns > 1 else 0
        remainders = self.remainders if self.remainders > 1 else 0
        return self.variants * (pairs + values + patterns + remainders + _RANGE * self.ranges)


NOTHING: Final = Held()


def own(schema: Mapping[str, Any]) -> Held:
    """What a place says itself, without what is merged into it."""
    if _COUNTED.isdisjoint(schema):
        return NOTHING
    return Held(
        patterns=("pattern" in schema) + ("format" in schema),
        lengths=any(one in schema for one in _LENGTHS),
        values=len(listed(schema, "enum")),
        names=_size(schema.get("patternProperties")),
        properties=_size(schema.get("properties")),
        ranges=any(one in schema for one in _BOUNDS),
        remainders=_remainders(schema.get("multipleOf")),
    )


def work_of_values(schema: Mapping[str, Any]) -> int:
    """The work of objects and lists that a place gives as values, whatever else it says."""
    count, level = 0, [schema.get(one) for one in ("enum", "const")]
    while level := [one for some in level for one in inside(some)]:
        count += len(level)
    return _NESTED * count


def listed(schema: Mapping[str, Any], keyword: str) -> list[Any]:
    """The list at a keyword; empty: there is none."""
    found = schema.get(keyword)
    return found if isinstance(found, list) else []


def inside(value: Any) -> Iterable[Any]:
    """Objects and lists that are elements of a value."""
    elements = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [one for one in elements if isinstance(one, dict | list)]


def _size(value: Any) -> int:
    return len(value) if isinstance(value, dict) else 0


def _remainders(value: Any) -> int:
    """Remainders that an automaton tells apart; tens add none, since the last digits say them."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 1
    number = Decimal(str(value))
    if not number.is_finite() or number <= 0:
        return 1
    count = int("".join(map(str, number.as_tuple().digits)))
    while count % 10 == 0:
        count //= 10
    return count
