"""Errors of Postgres that are nobody's fault who asks: which they are, and what to do about each."""

import psycopg

REFUSES = {
    "25006": "it is a replica: name the primary in LORADEX_DATABASE_URL",
    "42501": "connect as a role that may do this (see SECURITY.md)",
    "53100": "free space on the disk of Postgres",
    "55P03": "another session holds a lock, and `loradex status` names it",
}
"""By SQLSTATE: it answers, and refuses this to everybody, whatever the question is."""

AWAY = {
    "26000": "a pooler is between: set LORADEX_PREPARE_THRESHOLD=0",
    "42P05": "a pooler is between: set LORADEX_PREPARE_THRESHOLD=0",
    "25P03": "try again",
    "25P04": "try again",
    "40001": "try again",
    "40P01": "try again",
    "53200": "give Postgres more memory",
    "53300": "raise max_connections, or run fewer clients and workers",
    "53400": "raise the limit that it names",
    "57014": "look for what slows Postgres down, or raise statement_timeout",
    "57P01": "an administrator ended the session; try again",
    "57P02": "Postgres recovers; try again",
    "57P03": "Postgres starts or recovers; try again",
    "57P05": "the session was idle for too long; try again",
    "58030": "look at the disk of Postgres and at its log",
    "58P01": "look at the disk of Postgres and at its log",
    "XX001": "look at the disk of Postgres and at its log",
    "XX002": "look at the disk of Postgres and at its log",
}
"""By SQLSTATE: it did not do this, and may do it the next time."""

WORDS = (
    ("cached plan", "the database was upgraded meanwhile; try again"),
    ("password authentication failed", "correct the password in LORADEX_DATABASE_URL"),
    ("is not permitted to log in", "name a login in LORADEX_DATABASE_URL; `loradex db login` makes one"),
    ("too many", AWAY["53300"]),
    ("remaining connection slots", AWAY["53300"]),
    ("no pg_hba.conf entry", "allow this login and address in pg_hba.conf"),
    ("starting up", AWAY["57P03"]),
    ("shutting down", AWAY["57P03"]),
    ("recovery mode", AWAY["57P03"]),
    ("not yet accepting connections", AWAY["57P03"]),
    ("certificate", "renew the certificate, or name who signed it with sslrootcert= in LORADEX_DATABASE_URL"),
    ("resolve host", "correct the host in LORADEX_DATABASE_URL, or look at the name service"),
    ("closed unexpectedly", "the connection broke; try again"),
    ("closed the connection", "the connection broke; try again"),
    ("unexpected eof", "the connection broke; try again"),
    ("connection is lost", "the connection broke; try again"),
    ("connection is closed", "the connection broke; try again"),
    ("Connection reset", "the connection broke; try again"),
    ("translate host", "correct the host in LORADEX_DATABASE_URL, or look at the name service"),
    ("does not exist", "correct user and database in LORADEX_DATABASE_URL"),
)
"""By words of the message: a connection that is refused or breaks has no SQLSTATE. The first that fit count, so what
many messages say stands last."""

STALE_PLAN = "0A000"
"""Of a statement that was prepared before the schema changed, and of other things too."""
START = "start Postgres with `loradex up`, or check LORADEX_DATABASE_URL"


def is_outage(error: psycopg.Error) -> bool:
    """Whether Postgres, and not what it was asked, is the cause."""
    state = error.sqlstate or ""
    return (
        is_stale_plan(error)
        or state in REFUSES
        or state in AWAY
        or isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    )


def is_stale_plan(error: BaseException | None) -> bool:
    """Whether the statement was prepared before an upgrade changed what it gives: the session refuses it for good."""
    return isinstance(error, psycopg.Error) and error.sqlstate == STALE_PLAN and "cached plan" in str(error)


def advice_on(state: str, text: str) -> str:
    """What to do about an outage."""
    known = REFUSES.get(state) or AWAY.get(state)
    return known or next((advice for words, advice in WORDS if words in text), START)
