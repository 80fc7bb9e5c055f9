"""Patterns of module names in an adapter's config: PEFT's rule, for patterns that cannot take long."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Generic, TypeVar

from loradex.errors import AdapterRefusedError

Value = TypeVar("Value")

MAX_PATTERNS = 2000
MAX_PATTERN = 256
# Names, classes of characters, and groups of names. Where alternatives of many groups could match the same, trying all
# ways would take for ever; of one such group, such as `(1|10)`, there are as many ways as it has names.
ATOM = r"(?:[\w]|\\[.dw]|\.|\[[\w\-]{1,32}\])"
NAME = r"(?:\w|\\?\.)+"
GROUP = re.compile(rf"\((?:\?:)?(?P<names>{NAME}(?:\|{NAME})*)\)")
SAFE = re.compile(rf"\^?(?:{ATOM}|\|)*\$?")
REPEATED = re.compile(rf"{ATOM}[*+?]")


@dataclass(frozen=True)
class Patterns(Generic[Value]):
    """What holds for the modules whose names end as a pattern says."""

    rules: tuple[tuple[re.Pattern[str], Value], ...] = ()

    @classmethod
    def of(cls, key: str, values: Mapping[str, Value]) -> "Patterns[Value]":
        """The patterns under a key of a config.

        Raises:
            AdapterRefusedError: There are too many, or one may take longer than a name is long.
        """
        if len(values) > MAX_PATTERNS:
            raise AdapterRefusedError(
                f"adapter_config.json: {key} has {len(values)} patterns, the limit is {MAX_PATTERNS}; "
                "name modules together"
            )
        return cls(tuple((_compiled(key, pattern), value) for pattern, value in values.items()))

    def value_of(self, module: str, default: Value) -> Value:
        """PEFT's rule: the first pattern that matches the end of the module's name, whole name parts only."""
        return next((value for pattern, value in self.rules if pattern.match(module)), default)


def _compiled(key: str, pattern: str) -> re.Pattern[str]:
    bare, repeated = REPEATED.subn("x", pattern)
    groups = [found["names"].replace("\\", "").split("|") for found in GROUP.finditer(bare)]
    alike = sum(not all(_are_apart(*pair) for pair in combinations(names, 2)) for names in groups)
    if (
        len(pattern) > MAX_PATTERN
        or repeated > 1
        or alike > 1
        or SAFE.fullmatch(GROUP.sub("x", bare)) is None
    ):
        raise AdapterRefusedError(
            f"adapter_config.json: {key} has the pattern {pattern[:60]!r}; name modules, with at most one group of "
            "names of which one begins as another, and one repeated character"
        )
    try:
        return re.compile(rf"(.*\.)?({pattern})$")
    except re.error as error:
        raise AdapterRefusedError(
            f"adapter_config.json: {key} has the pattern {pattern[:60]!r}: {error}; write it as PEFT reads it"
        ) from error


def _are_apart(one: str, other: str) -> bool:
    """Whether no text begins as both; a dot stands for any character."""
    return any(a != b and "." not in (a, b) for a, b in zip(one, other, strict=False))
