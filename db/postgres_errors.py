"""Which of Loradex's errors an error of Postgres stands for."""

import psycopg

from loradex.db import outages
from loradex.errors import (
    BY_SQLSTATE,
    DatabaseRefusesError,
    DatabaseUnavailableError,
    DimensionError,
    InvalidArgumentError,
    LoradexError,
    PermissionRefusedError,
    SchemaOutdatedError,
)

_MISSING = {"3F000", "42P01", "42883", "42703", "42704"}
"""No such schema, table, function, column or type: the database is not migrated, or not to this version."""
_MALFORMED = {"22P02", "2201W", "22P05", "22021", "22003", "22023", "22007", "22008"}
"""A value Postgres cannot read as the argument's type: text for a number, a NUL, a number out of range."""
_TOO_MUCH = "54"
"""The class of SQLSTATEs for values that exceed a limit of Postgres."""
_VECTOR = {"22000", "22P02", "22003", "54000"}
"""What pgvector raises before a function of ours sees the vector: NaN, infinity, an unlike length."""


def typed_error(error: psycopg.Error) -> LoradexError | None:
    """The Loradex error an error of Postgres stands for; None for what no user can cause or cure."""
    state = error.sqlstate or ""
    text = " ".join((error.diag.message_primary or str(error)).split())
    if state in BY_SQLSTATE:
        return BY_SQLSTATE[state](text)
    kind, advice = _kind(error, state, text)
    return None if kind is None else kind(text + advice)


def _kind(error: psycopg.Error, state: str, text: str) -> tuple[type[LoradexError] | None, str]:
    if state in _VECTOR and ("vector" in text or "dimensions" in text):
        return DimensionError, "; give as many finite numbers as the encoder has dimensions"
    if state == "42501":
        return PermissionRefusedError, f"; {outages.advice_on(state, text)}"
    if state in _MISSING:
        return SchemaOutdatedError, (
            ": run `loradex db upgrade`, which mends it or says what to do, or run another version of this program"
        )
    too_much = state[:2] == _TOO_MUCH
    if too_much or state in _MALFORMED or (not state and isinstance(error, psycopg.DataError)):
        return InvalidArgumentError, "; give less" if too_much else ""
    if outages.is_outage(error):
        kind = DatabaseRefusesError if state in outages.REFUSES else DatabaseUnavailableError
        return kind, f"; {outages.advice_on(state, text)}"
    return None, ""
