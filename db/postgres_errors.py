"""Which of Loradex's errors an error of Postgres stands for, and what to do about it."""

import psycopg

from loradex.errors import (
    BY_SQLSTATE,
    DatabaseUnavailableError,
    DimensionError,
    InvalidArgumentError,
    LoradexError,
    PermissionRefusedError,
    SchemaOutdatedError,
)

_MISSING = ("3F000", "42P01", "42883", "42703", "42704")
"""No such schema, table, function, column or type: the database is not migrated, or not to this version."""
_MALFORMED = ("22P02", "2201W", "22P05", "22021", "22003", "22023", "22007", "22008")
"""A value Postgres cannot read as the argument's type: text for a number, a NUL, a number out of range."""
_LOST = ("26000", "42P05")
"""A prepared statement is not there, or is there already: a pooler gave the session to somebody else."""
_VECTOR = ("22000", "22P02", "22003", "54000")
"""What pgvector raises before a function of ours sees the vector: NaN, infinity, an unlike length."""
_KINDS: dict[str, tuple[type[LoradexError], str]] = {
    "42501": (PermissionRefusedError, "; connect as a role that may do this (see SECURITY.md)"),
    **dict.fromkeys(_MISSING, (SchemaOutdatedError, ": run `loradex db upgrade`")),
    **dict.fromkeys(_MALFORMED, (InvalidArgumentError, "")),
    **dict.fromkeys(
        _LOST, (DatabaseUnavailableError, "; a pooler is between: set LORADEX_PREPARE_THRESHOLD=0")
    ),
}
_AGAIN = "; a new connection is made at the next call"
_FEWER = "; raise max_connections, or run fewer clients and workers"
_ADVICE = {
    "53100": "; free space on the disk of Postgres",
    "53300": _FEWER,
    "55P03": "; `loradex status` names the session that holds the lock",
    "57014": "; it took longer than the login's statement_timeout, or somebody cancelled it",
    **dict.fromkeys(("25P03", "25P04", "57P01", "57P05"), _AGAIN),
}
"""Where starting Postgres again is not the cure."""
_REFUSALS = {
    "password authentication failed": "; check user and password in LORADEX_DATABASE_URL",
    "no password supplied": "; give LORADEX_DATABASE_URL a password",
    "does not exist": "; check user and database in LORADEX_DATABASE_URL",
    "too many connections": "; run fewer clients and workers, or raise the login's limit",
    "too many clients": _FEWER,
    "remaining connection slots": _FEWER,
    "connection is lost": _AGAIN,
    "closed the connection unexpectedly": _AGAIN,
    "connection is closed": _AGAIN,
}
"""A connection that is refused or cut has no SQLSTATE, so the words of the server say why."""


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
    if state in _KINDS:
        return _KINDS[state]
    if not state and isinstance(error, psycopg.DataError):
        return InvalidArgumentError, ""
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return DatabaseUnavailableError, _ADVICE.get(state) or _advice_on(text)
    return None, ""


def _advice_on(refusal: str) -> str:
    """What to do about a connection that was not made, or ended without a SQLSTATE: the server's words say why."""
    for words, advice in _REFUSALS.items():
        if words in refusal:
            return advice
    return ". Start Postgres with `loradex up`, or check LORADEX_DATABASE_URL"
