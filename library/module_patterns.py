"""Patterns of module names in an adapter's config: PEFT's rule, for patterns that cannot take long."""

import re
from collections.abc import Mapping
from typing import TypeVar

from loradex.errors import AdapterRefusedError

Value = TypeVar("Value")

MAX_PATTERNS = 2000
MAX_PATTERN = 256
# Names, classes of characters, and groups of alternatives. A repeated group could take for ever.
ATOM = r"(?:[\w]|\\[.dw]|\.|\[[\w\-]{1,32}\])"
SAFE = re.compile(rf"\^?(?:{ATOM}|[()|]|\(\?:)*\$?")
REPEATED = re.compile(rf"{ATOM}[*+?]")


def checked(key: str, patterns: Mapping[str, object]) -> None:
    """Raises `AdapterRefusedError` unless each pattern can be matched in a time that grows with a name's length."""
    if len(patterns) > MAX_PATTERNS:
        raise AdapterRefusedError(
            f"adapter_config.json: {key} has {len(patterns)} patterns, the limit is {MAX_PATTERNS}"
        )
    for pattern in patterns:
        bare, repeated = REPEATED.subn("x", pattern)
        if (
            len(pattern) > MAX_PATTERN
            or repeated > 1
            or SAFE.fullmatch(bare) is None
            or not _compiles(pattern)
        ):
            raise AdapterRefusedError(
                f"adapter_config.json: {key} has the pattern {pattern[:60]!r}; name modules, with alternatives in "
                "groups and at most one repeated character"
            )


def value_of(patterns: Mapping[str, Value], module: str, default: Value) -> Value:
    """PEFT's rule: the first pattern that matches the end of the module's name, whole name parts only."""
    for pattern, value in patterns.items():
        if re.match(rf"(.*\.)?({pattern})$", module):
            return value
    return default


def _compiles(pattern: str) -> bool:
    try:
        re.compile(pattern)
    except re.error:
        return False
    return True
