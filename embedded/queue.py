"""How the queue is, as the database knows it: what waits, who answers, and who holds up whom."""

import psycopg

from loradex.db.session import connect
from loradex.embedded.health import Health, first_line, ill, well
from loradex.errors import LoradexError

QUEUE = "select queued, running, living_workers, unserved from loradex.queue_health"
BLOCKED = """
    select format('%s (%s, process %s) has held %s for %s s', b.blocking_login, b.blocking_program, b.blocking_pid,
                  b.waits_for, round(b.blocking_seconds))
    from loradex.blocked_sessions() b where b.waiting_seconds > 1 order by b.waiting_seconds desc limit 1"""
"""Who is waited for a moment only is not named: workers wait for one another's commit all the time."""
PATIENCE_SECONDS = 5
PATIENCE = f"set local statement_timeout = '{PATIENCE_SECONDS}s'".encode()
END = "end that session, or let it commit"
SILENT = "select round(silent_seconds) from loradex.worker_health where name = %s and not living"


def queue(url: str) -> Health:
    """Whether every job that waits has a worker that takes it, and no session holds up others.

    Who holds a lock is asked first: while the queue itself is locked, it cannot be counted, and that is said.
    """
    holder = None
    try:
        with connect(url) as connection, connection.transaction():
            connection.execute(PATIENCE)
            holder = connection.execute(BLOCKED).fetchone()
            counted = connection.execute(QUEUE).fetchone()
    except psycopg.errors.InsufficientPrivilege:
        return well("queue", "loradex.jobs", "there; how full it is, this user may not see")
    except (psycopg.Error, LoradexError) as error:
        return _unread(error, None if holder is None else holder[0])
    queued, running, living, unserved = counted or (0, 0, 0, 0)
    note = f"{queued} wait, {running} run, {living} workers live"
    if holder is not None:
        return ill("queue", "loradex.jobs", f"{note}; {holder[0]}", END)
    if unserved:
        return ill(
            "queue",
            "loradex.jobs",
            f"{note}; {unserved} are for a base model or encoder that no living worker has",
            "start a worker that has them; `loradex worker list` shows who has what",
        )
    return well("queue", "loradex.jobs", note)


def _unread(error: Exception, holder: str | None) -> Health:
    if not isinstance(error, psycopg.errors.QueryCanceled):
        return ill("queue", "loradex.jobs", first_line(error), "run `loradex db upgrade`")
    note = f"cannot be counted within {PATIENCE_SECONDS} s"
    if holder is None:
        return ill("queue", "loradex.jobs", note, "ask again: who holds a lock is named while somebody waits")
    return ill("queue", "loradex.jobs", f"{note}; {holder}", END)


def silence(url: str, worker: str) -> int | None:
    """For how many seconds a worker has given no sign of life; None if it lives, or nobody knows it."""
    try:
        with connect(url) as connection, connection.transaction():
            connection.execute(PATIENCE)
            row = connection.execute(SILENT, (worker,)).fetchone()
    except (psycopg.Error, LoradexError):
        return None
    return None if row is None else int(row[0])
