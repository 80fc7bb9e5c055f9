"""The settings of routing that somebody tries, as an address says them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loradex.service.api.problem import refused

SETTINGS = ("k", "top_p", "temperature", "method", "exclude_tasks", "exclude_adapters")
LONGEST = 200
MOST_NAMES = 1_000


@dataclass(frozen=True)
class Wish:
    """What is tried; None keeps what an answer had.

    Attributes:
        exclude_tasks, exclude_adapters: All that take no part; None where the address says nothing of them.
    """

    k: int | None = None
    top_p: float | None = None
    temperature: float | None = None
    method: str | None = None
    since: str | None = None
    exclude_tasks: Sequence[str] | None = None
    exclude_adapters: Sequence[str] | None = None

    @classmethod
    def of(cls, told: Sequence[tuple[str, str]]) -> "Wish":
        """What an address says; whether Postgres takes it, Postgres says.

        Raises:
            Problem: It is none.
        """
        tasks = [value for name, value in told if name == "exclude_task"]
        adapters = [value for name, value in told if name == "exclude_adapter"]
        if len(tasks) + len(adapters) > MOST_NAMES:
            raise refused(f"at most {MOST_NAMES} names can be left out", "exclude_task")
        rest = [(name, value) for name, value in told if name not in {"exclude_task", "exclude_adapter"}]
        chosen: dict[str, Any] = {}
        for name, value in rest:
            if name not in {"k", "top_p", "temperature", "method", "since"} or name in chosen:
                raise refused(
                    "give k, top_p, temperature, method and since once each, exclude_task and exclude_adapter as "
                    "often as needed",
                    ascii(name)[1:-1][:60],
                )
            if len(value) > LONGEST or "\0" in value:
                raise refused(f"{name} may have {LONGEST} characters", name)
            if value:
                chosen[name] = value
        for name, kind in (("k", int), ("top_p", float), ("temperature", float)):
            if name in chosen:
                chosen[name] = _number(name, kind, chosen[name])
        # A form in which nothing is ticked says so by an empty value.
        return cls(
            **chosen,
            exclude_tasks=[name for name in tasks if name] if tasks else None,
            exclude_adapters=[name for name in adapters if name] if adapters else None,
        )


def _number(name: str, kind: type[int] | type[float], value: str) -> int | float:
    try:
        made = kind(value)
    except (ValueError, OverflowError):
        made = math.nan
    if not math.isfinite(made) or abs(made) > 1e9:  # noqa: PLR2004 - more than any range, less than any type's end
        raise refused(f"{name} must be a number", name)
    return made


def changes(wish: Wish, stored: Mapping[str, Any]) -> dict[str, Any]:
    """What is tried that the answer had not, by name; None where it keeps its own.

    A form says all settings, and what an answer had may be out of a range that became narrower since.
    """
    told = {name: getattr(wish, name) for name in SETTINGS}
    return {
        name: None
        if value is None or value == stored[name] or _names(value) == _names(stored[name])
        else value
        for name, value in told.items()
    }


def _names(value: object) -> object:
    """The same for lists of the same names, whatever their order; None of anything else is the same."""
    return sorted(value) if isinstance(value, list) else object()


def changed(wish: Wish, stored: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that hold: what is tried, otherwise what the answer had."""
    tried = changes(wish, stored)
    return {name: stored[name] if tried[name] is None else tried[name] for name in SETTINGS}
