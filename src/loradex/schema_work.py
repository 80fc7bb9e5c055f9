"""How much work it is to read a JSON schema, counted before a library does it.

llguidance bounds most of it by itself. These it does not: patterns that hold at once, whose automata multiply;
multiples, whose automata have a state for each remainder; names given by patterns, which are compared in pairs; lists
of values that something else holds as well. All of them grow where schemas are merged: by `allOf`, by alternatives
beside other keywords, and by references.
"""

from collections.abc import Generator, Iterable, Mapping
from typing import Any, Final
from urllib.parse import unquote

from loradex.schema_place import NOTHING, Held, inside, listed, own, work_of_values

MOST_WORK: Final = 16_000
"""About 50 ms, at 3 µs for each pair of names and each remainder; a worker reads it twice."""
MOST_PATTERNS: Final = 8
"""On one text. The time doubles with each."""
DEEPEST: Final = 100
"""Levels of JSON."""
PASSES: Final = 4
"""Through schemas that refer to themselves, until nothing changes."""

_SAYS_NOTHING = frozenset(
    {"$schema", "$id", "$comment", "$defs", "definitions", "title", "description", "default", "examples"}
)
_NAMED = ("properties", "patternProperties", "dependentSchemas")
_SINGLE = ("additionalProperties", "items", "contains", "propertyNames")

_Found = tuple[Held, Held]
"""What holds at a place, and the most that holds at a place below."""


class TooMuchWorkError(Exception):
    """Why a schema would take too long to read."""


def require_little_work(schema: Mapping[str, Any]) -> None:
    """Raises `TooMuchWorkError` if the schema, a JSON document, would take much longer than a tenth of a second."""
    level: list[Any] = [schema]
    for _ in range(DEEPEST):
        level = [one for value in level for one in inside(value)]
    if level:
        raise TooMuchWorkError(f"it is more than {DEEPEST} levels deep")
    work = _Work(schema)
    for _ in range(PASSES):
        if not work.passed():
            return
    raise TooMuchWorkError("it refers to itself in too many ways")


class _Work:
    """The places of one schema, each looked at once in a pass."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._before: dict[int, _Found] = {}
        self._now: dict[int, _Found] = {}
        self._total = 0

    def passed(self) -> bool:
        """Goes through the schema; whether anything differs from the pass before, which only a cycle does."""
        self._before, self._now, self._total = self._now, {}, 0
        cyclic = False
        # Not by calls: references may lead on and on.
        open_places: dict[int, Generator[Any, _Found, _Found]] = {id(self._root): self._measured(self._root)}
        found: _Found | None = None
        while open_places:
            key, place = next(reversed(open_places.items()))
            try:
                wanted = next(place) if found is None else place.send(found)
            except StopIteration as measured:
                found = self._now[key] = measured.value
                del open_places[key]
                continue
            found = self._now.get(id(wanted)) if isinstance(wanted, dict) else (NOTHING, NOTHING)
            if found is None and id(wanted) in open_places:
                cyclic = True
                found = self._before.get(id(wanted), (NOTHING, NOTHING))
            elif found is None:
                open_places[id(wanted)] = self._measured(wanted)
        return cyclic and self._now != self._before

    def _measured(self, schema: Mapping[str, Any]) -> Generator[Any, _Found, _Found]:
        """Yields the schemas it depends on, and is sent what was found of each."""
        if "$id" in schema and schema is not self._root:
            raise TooMuchWorkError("$id may stand at its top only")
        below = NOTHING
        for child in _children(schema):
            here, deeper = yield child
            below = below.either(here).either(deeper)
        parts = yield from _each(listed(schema, "allOf"))
        for keyword in ("anyOf", "oneOf"):
            if found := (yield from _each(listed(schema, keyword))):
                parts.append(_one_of(found))
        if isinstance(reference := schema.get("$ref"), str):
            parts += yield from _each([_target(self._root, reference)])
        merged = len(parts) > 1 or (bool(parts) and len(schema.keys() - _SAYS_NOTHING) > 1)
        here = own(schema)
        for one, deeper in parts:
            here, below = here.beside(one), below.beside(deeper)
        self._count(schema, here, below if merged else NOTHING, alone=bool(parts) and not merged)
        return here, below

    def _count(self, schema: Mapping[str, Any], here: Held, below: Held, *, alone: bool) -> None:
        """Adds the work of a place, unless it is `alone` what it refers to, which is counted there."""
        patterns = max(here.patterns, below.patterns)
        if patterns > MOST_PATTERNS:
            raise TooMuchWorkError(f"up to {patterns} patterns hold at once, and {MOST_PATTERNS} may")
        self._total += work_of_values(schema)
        if not alone:
            self._total += here.work() + below.work() * max(1, here.properties)
        if self._total > MOST_WORK:
            raise TooMuchWorkError(
                "it takes too long to read; give it fewer patterns, multiples, ranges and values"
            )


def _each(schemas: Iterable[Any]) -> Generator[Any, _Found, list[_Found]]:
    """What is found of each, asked for one after the other."""
    found = []
    for one in schemas:
        held = yield one
        found.append(held)
    return found


def _one_of(found: Iterable[_Found]) -> _Found:
    here, below, variants = NOTHING, NOTHING, 0
    for one, deeper in found:
        here, below, variants = here.either(one), below.either(deeper), variants + one.variants
    return here.in_variants(variants), below


def _children(schema: Mapping[str, Any]) -> list[Any]:
    named = [one for key in _NAMED if isinstance(found := schema.get(key), dict) for one in found.values()]
    found = [*named, *(schema[key] for key in _SINGLE if key in schema), *listed(schema, "prefixItems")]
    return [one for one in found if isinstance(one, dict)]


def _target(root: Any, reference: str) -> Any:
    """What a reference leads to; None: nothing."""
    if not (reference == "#" or reference.startswith("#/")):
        raise TooMuchWorkError(f"it does not fetch {reference[:80]!r}; a reference is # or begins with #/")
    found = root
    for step in unquote(reference).split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(found, dict):
            found = found.get(name)
        elif isinstance(found, list) and name.isdecimal() and int(name) < len(found):
            found = found[int(name)]
        else:
            return None
    return found
