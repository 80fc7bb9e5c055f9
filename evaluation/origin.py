"""What a figure depends on beside its case, and in what the origins of two figures differ."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from loradex.evaluation.methods import defaults_read_by
from loradex.evaluation.plan import Case
from loradex.library.cards import TaskCard
from loradex.library.examples import Example

WORDS: Mapping[str, str] = {
    "library": "libraries",
    "dtype": "number formats",
    "limit": "limits of rows",
    "rows": "kinds of rows",
    "base_model": "base models",
    "encoder": "encoders",
    "frame": "frames",
    "mode": "ways to ask",
    "defaults": "defaults",
    "marks": "rules of marks",
}

MARKS = 2
"""Of the code at hand. Raised when an answer would be judged otherwise, or other examples hidden; without a number it
is 1."""

EVERYWHERE = ("library", "dtype", "base_model", "encoder", "frame", "defaults")
"""What figures have in common that share a page, though not a table."""


@dataclass(frozen=True)
class Origin:
    """What a figure depends on beside its case; figures of unlike origin are never mixed.

    Records of earlier code say only the first four; what they do not say is None, and unlike what others say.

    Attributes:
        rows: `test` or `held-out`.
        limit: Rows a task at most; None for all.
        dtype: Numbers the model computed in.
        library: Hash of the adapters and examples that were active.
        base_model: Revision of the base model.
        encoder: Revision of the encoder.
        frame: What the base model reads around a prompt.
        mode: `in-process` or `as-jobs`.
        defaults: The database's own options, where the case gave none; of a cell those that its method reads.
        marks: By which rules answers were judged and examples hidden: `MARKS` of the code that did.
    """

    rows: str
    limit: int | None
    dtype: str
    library: str
    base_model: str | None = None
    encoder: str | None = None
    frame: str | None = None
    mode: str | None = None
    defaults: dict[str, float] | None = None
    marks: int | None = None

    def of_case(self, case: Case) -> "Origin":
        """That of the case's cells: a default counts where the method reads it and the case gives no value."""
        counting = set(defaults_read_by(case.method)) - case.options.given().keys()
        known = self.defaults or {}
        return replace(self, defaults={name: known[name] for name in sorted(counting & known.keys())})

    def joined(self, other: "Origin") -> "Origin":
        """This one, with the defaults of both."""
        if other.defaults is None:
            return self
        return replace(self, defaults=other.defaults | (self.defaults or {}))


@dataclass(frozen=True)
class Asked:
    """What a task is asked, by hashes.

    Attributes:
        card: Of what makes prompts of rows and marks of answers.
        rows: Of the rows; None where their file is not there, which is enough to go on with what is on record.
    """

    card: str
    rows: str | None

    @classmethod
    def of(cls, card: TaskCard, rows: Sequence[Example] | None) -> "Asked":
        """Of a card and its rows; how the card's adapters are trained does not count."""
        said = json.dumps(card.model_dump(mode="json", exclude={"source", "training"}), sort_keys=True)
        texts = None if rows is None else (row.model_dump_json() for row in rows)
        return cls(_hash([said]), None if texts is None else _hash(texts))


def unlike(one: Origin, other: Origin, names: Iterable[str] = WORDS) -> str:
    """In which of these they differ, in words; empty if in none. Of defaults only those count that both have."""
    differing = [name for name in names if not _alike(getattr(one, name), getattr(other, name))]
    return " and ".join(
        f"unlike {WORDS[name]} ({_told(one, name)}, {_told(other, name)})" for name in differing
    )


def unlike_elsewhere(one: Origin, other: Origin) -> str:
    """As `unlike`, of what a whole page has in common; what one of them does not say does not count."""
    known = [name for name in EVERYWHERE if None not in (getattr(one, name), getattr(other, name))]
    return unlike(one, other, known)


def _alike(one: object, other: object) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return all(one[name] == other[name] for name in one.keys() & other.keys())
    return one == other


def _told(origin: Origin, name: str) -> str:
    value = getattr(origin, name)
    if value is None:
        return "all" if name == "limit" else "not said"
    if isinstance(value, dict):
        return ", ".join(f"{option} {one}" for option, one in value.items()) or "none"
    return " ".join(str(value).split())[:16]


def _hash(parts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
