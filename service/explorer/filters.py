"""Which answers a table shows: as the address of the page says it, and as SQL."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import LiteralString
from urllib.parse import urlencode
from uuid import UUID

from psycopg.sql import SQL, Composable, Composed, Literal

from loradex.service.api.problem import refused

PERIODS: Mapping[str, LiteralString] = {"1h": "1 hour", "24h": "1 day", "7d": "7 days", "30d": "30 days"}
"""What `since` may say beside a time."""

DOMAINS = ("in", "out")
FINISHES = ("choice", "stop", "length")
ANY = "any"
"""In `error`: whatever went wrong."""

LONGEST = 200
EQUALS: Mapping[str, LiteralString] = {
    "task": "top_task = {}",
    "adapter": "adapters @> array[{}]",
    "method": "method = {}",
    "model": "base_model = {}",
    "finish": "finish_reason = {}",
    "tenant": "owner = {}",
}
"""Facet → the condition for one value, on `loradex.answer_provenance`."""

BEHIND: LiteralString = (
    "(finished_at, id) < (select l.finished_at, l.id from loradex.jobs l where l.id = {last}) "
    "and finished_at <= (select l.finished_at from loradex.jobs l where l.id = {last})"
)
"""The second says to an index what the first means."""

Edges = Mapping[str, float | None]
"""Encoder → the similarity below which a question is out of the domain; None where there are no examples."""


@dataclass(frozen=True)
class Filter:
    """What was chosen; None chooses nothing.

    Attributes:
        since, until: One of `PERIODS`, or a time of ISO 8601, in UTC where it says no other.
        tenant: Whose question it was, by name.
        task: The likeliest task of an answer.
        adapter: One that took part in it.
        domain: `in` or `out`.
        error: `any`, or the code of what went wrong: then it is about questions without an answer.
        after: The last answer of the page before, or the last question.
    """

    since: str | None = None
    until: str | None = None
    tenant: str | None = None
    task: str | None = None
    adapter: str | None = None
    method: str | None = None
    model: str | None = None
    domain: str | None = None
    finish: str | None = None
    error: str | None = None
    after: str | None = None

    @classmethod
    def of(cls, told: Sequence[tuple[str, str]]) -> "Filter":
        """What an address says; empty values choose nothing.

        Raises:
            Problem: It says something else, or says it twice.
        """
        chosen: dict[str, str] = {}
        for name, value in told:
            if name not in cls.__dataclass_fields__:
                raise refused(
                    f"a filter has {', '.join(cls.__dataclass_fields__)}; not {ascii(name)[:60]}", "filter"
                )
            if name in chosen:
                raise refused(f"{name} stands twice; choose one", name)
            if len(value) > LONGEST or not re.fullmatch(r"[^\x00\ud800-\udfff]*", value):
                raise refused(f"{name} may have {LONGEST} characters", name)
            if value:
                chosen[name] = value
        made = cls(**chosen)
        made.conditions({})
        made.times("answer_id")  # refuses what is no time and no id
        return made

    def address(self, path: str, **changes: str | None) -> str:
        """The page at `path` with this filter, changed; it begins at the first row unless `after` is given."""
        chosen = asdict(replace(self, **{"after": None, **changes}))
        told = urlencode({name: value for name, value in chosen.items() if value is not None})
        return f"{path}?{told}" if told else path

    def chosen(self) -> dict[str, str]:
        """What was chosen, by name, without the page."""
        return {name: value for name, value in asdict(self).items() if value is not None and name != "after"}

    def conditions(self, edges: Edges) -> list[Composable]:
        """The conditions on `loradex.answer_provenance`, but for those of the time.

        Raises:
            Problem: A value is none that can be compared.
        """
        found: list[Composable] = []
        for name, condition in EQUALS.items():
            value = getattr(self, name)
            if value is not None:
                found.append(SQL(condition).format(Literal(value)))
        if self.finish is not None and self.finish not in FINISHES:
            raise refused(f"finish is one of {', '.join(FINISHES)}", "finish")
        if self.domain is not None:
            if self.domain not in DOMAINS:
                raise refused(f"domain is one of {', '.join(DOMAINS)}", "domain")
            out = out_of_domain(edges)
            found.append(out if self.domain == "out" else SQL("not ({})").format(out))
        return found

    def conditions_of_failures(self) -> list[Composable]:
        """The conditions on questions without an answer, but for those of the time.

        Raises:
            Problem: A value is none that can be compared, or one that no such question has.
        """
        found: list[Composable] = []
        if self.error is not None and self.error != ANY:
            found.append(SQL("error_code = {}").format(Literal(self.error)))
        for name, column in (
            ("method", SQL("method")),
            ("model", SQL("base_model")),
            ("tenant", SQL("owner")),
        ):
            value = getattr(self, name)
            if value is not None:
                found.append(SQL("{} = {}").format(column, Literal(value)))
        for name in ("task", "adapter", "domain", "finish"):
            if getattr(self, name) is not None:
                raise refused(f"a question without an answer has no {name}; take the filter off", name)
        return found

    def times_of_failures(self) -> list[Composable]:
        """The conditions of the time and the page on `loradex.jobs`: when a question ended without an answer.

        Raises:
            Problem: A value is no time, or no id.
        """
        found: list[Composable] = [SQL("state in ('failed', 'cancelled', 'expired')")]
        if self.since is not None:
            found.append(SQL("finished_at >= {}").format(_moment(self.since, "since")))
        if self.until is not None:
            found.append(SQL("finished_at < {}").format(_moment(self.until, "until")))
        if self.after is not None:
            found.append(SQL(BEHIND).format(last=Literal(self._last())))
        return found

    @property
    def until_in_form(self) -> str | None:
        """`until` as a form's field of a time in UTC has it; None where it is none, such as `24h`."""
        if self.until is None or self.until in PERIODS:
            return None
        when = _time(self.until, "until")
        return None if when.microsecond else when.strftime("%Y-%m-%dT%H:%M:%S")

    def _last(self) -> str:
        try:
            return str(UUID(self.after))
        except ValueError:
            raise refused(
                "after is the id of the last row of a page; begin at the first page", "after"
            ) from None

    def times(self, column: LiteralString) -> list[Composable]:
        """The conditions of the time and the page, on the ids in this column.

        Raises:
            Problem: A value is no time, or no id.
        """
        found: list[Composable] = []
        if self.since is not None:
            found.append(SQL(column) + SQL(" >= loradex.first_id({})").format(_moment(self.since, "since")))
        if self.until is not None:
            found.append(SQL(column) + SQL(" < loradex.first_id({})").format(_moment(self.until, "until")))
        if self.after is not None:
            found.append(SQL(column) + SQL(" < {}").format(Literal(self._last())))
        return found


def _moment(told: str, name: str) -> Composed:
    period = PERIODS.get(told)
    if period is not None:
        return SQL("now() - interval {}").format(Literal(period))
    return SQL("{}::timestamptz").format(Literal(_time(told, name).isoformat()))


def _time(told: str, name: str) -> datetime:
    try:
        when = datetime.fromisoformat(told)
        return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    except (ValueError, OverflowError):
        raise refused(
            f"{name} is one of {', '.join(PERIODS)}, or a time such as 2026-11-30T12:00", name
        ) from None


def out_of_domain(edges: Edges) -> Composable:
    """Whether an answer's nearest example is farther than examples are from each other; true where there is none.

    A library too small to have an edge has nothing outside. Null where the edge of its encoder is not known
    (`KnownEdges`): it is neither in the domain nor out of it.
    """
    judged = [
        SQL("when {} then nearest_similarity is null or coalesce(nearest_similarity < {}, false)").format(
            Literal(encoder), Literal(edge)
        )
        for encoder, edge in edges.items()
    ]
    return SQL("case encoder {} end").format(SQL(" ").join(judged)) if judged else SQL("null::boolean")


def where(conditions: Sequence[Composable]) -> Composable:
    """The clause; nothing where there are none."""
    return SQL("where {}\n").format(SQL("\n  and ").join(conditions)) if conditions else SQL("")
