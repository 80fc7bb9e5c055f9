"""The states in which a real Postgres takes nothing or answers nothing, and back out of them."""

import contextlib
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import LiteralString

import psycopg
from tests.postgres_server import PostgresServer

from loradex.db.session import connect

State = Callable[[PostgresServer], AbstractContextManager[None]]

LOGIN = "loradex_worker_login"
END_SESSIONS: LiteralString = (
    f"select pg_terminate_backend(pid) from pg_stat_activity where usename = '{LOGIN}'"
)


def _told(bad: LiteralString, good: LiteralString, *, end_sessions: bool = True) -> State:
    @contextmanager
    def state(server: PostgresServer) -> Iterator[None]:
        server.run(bad, *([END_SESSIONS] if end_sessions else []))
        try:
            yield
        finally:
            server.run(good)

    return state


@contextmanager
def killed(server: PostgresServer) -> Iterator[None]:
    server.stop("immediate")
    try:
        yield
    finally:
        server.start()


@contextmanager
def stopped(server: PostgresServer) -> Iterator[None]:
    server.stop("fast")
    try:
        yield
    finally:
        server.start()


@contextmanager
def session_killed(server: PostgresServer) -> Iterator[None]:
    """One session dies, and so the server ends all and recovers."""
    rows = server.run(f"select pid from pg_stat_activity where usename = '{LOGIN}'")
    for process in server.processes:
        if process.pid in {row[0] for row in rows}:
            process.kill()
            break
    yield


@contextmanager
def frozen(server: PostgresServer) -> Iterator[None]:
    server.send(signal.SIGSTOP)
    try:
        yield
    finally:
        server.send(signal.SIGCONT)


@contextmanager
def replica(server: PostgresServer) -> Iterator[None]:
    """A fail-over left us with a server that only reads; later it is made the primary."""
    assert server.data is not None
    server.stop("fast")
    (server.data / "standby.signal").touch()
    server.start()
    try:
        yield
    finally:
        server.run("select pg_promote()")


@contextmanager
def full_disk(server: PostgresServer) -> Iterator[None]:
    with server.full_disk():
        yield


@contextmanager
def full_disk_of_log(server: PostgresServer) -> Iterator[None]:
    """There is no room for the write-ahead log either; then Postgres ends itself, and must be started."""
    try:
        with server.full_disk():
            with contextlib.suppress(psycopg.Error, Exception):
                for _ in range(20):
                    server.run(
                        "select pg_logical_emit_message(false, 'ballast', repeat('x', 1000000))",
                        "select pg_switch_wal()",
                    )
            yield
    finally:
        server.start()


@contextmanager
def locked(server: PostgresServer) -> Iterator[None]:
    """A session holds what every claim, routing and answer needs."""
    with connect(server.url) as holder, holder.transaction():
        holder.execute("lock table loradex.jobs in access exclusive mode")
        yield


@contextmanager
def notices_full(server: PostgresServer) -> Iterator[None]:
    """A session listens and dawdles, and the queue of notices is full."""
    with connect(server.url) as dawdler, connect(server.url) as crier:
        dawdler.execute("listen loradex_jobs")
        with dawdler.transaction():
            dawdler.execute("select 1")
            with contextlib.suppress(psycopg.OperationalError):
                while True:
                    crier.execute(
                        "select pg_notify('loradex_jobs', repeat('x', 7000) || g) from generate_series(1, 10) g"
                    )
            yield


STATES: dict[str, State] = {
    "stopped": stopped,
    "killed": killed,
    "a session killed": session_killed,
    "frozen": frozen,
    "sessions ended": _told("select 1", "select 1"),
    "read-only replica": replica,
    "full disk": full_disk,
    "full disk, log too": full_disk_of_log,
    "no connection free": _told(
        f"alter role {LOGIN} connection limit 0", f"alter role {LOGIN} connection limit 40"
    ),
    "login locked": _told(f"alter role {LOGIN} nologin", f"alter role {LOGIN} login"),
    "right to claim taken away": _told(
        "revoke execute on function loradex.claim_jobs from loradex_worker",
        "grant execute on function loradex.claim_jobs to loradex_worker",
        end_sessions=False,
    ),
    "right to route taken away": _told(
        "revoke execute on function loradex.route_jobs from loradex_worker",
        "grant execute on function loradex.route_jobs to loradex_worker",
        end_sessions=False,
    ),
    "right to record taken away": _told(
        "revoke execute on function loradex.record_answer from loradex_worker",
        "grant execute on function loradex.record_answer to loradex_worker",
        end_sessions=False,
    ),
    "a function is missing": _told(
        "alter function loradex.route_jobs rename to gone",
        "alter function loradex.gone rename to route_jobs",
        end_sessions=False,
    ),
    "statements end early": _told(
        f"alter role {LOGIN} set statement_timeout = '1ms'",
        f"alter role {LOGIN} set statement_timeout = '5min'",
    ),
    "a lock is held": locked,
    "notices full": notices_full,
}
