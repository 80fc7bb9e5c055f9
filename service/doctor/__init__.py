"""Looks at a deployment and says what is ill or could be better, with the cure."""

from collections.abc import Callable, Iterator, Sequence

import psycopg

from loradex.addresses import database_address
from loradex.db.session import Session, connect, settled, translate_errors
from loradex.embedded.stack import Stack
from loradex.errors import LoradexError
from loradex.service.doctor import disk, heads, people, redis, rights, server
from loradex.service.doctor.symptom import Symptom
from loradex.service.settings import ServiceSettings

__all__ = ["Symptom", "examine"]

Look = Callable[[Session], Iterator[Symptom]]
IN_THE_DATABASE: Sequence[tuple[str, Look]] = (
    ("version of Postgres", server.versions),
    ("settings of Postgres", server.settings),
    ("memory of Postgres", server.memory),
    ("clock", server.clock),
    ("functions, triggers, grants", rights.differences),
    ("groups", rights.groups),
    ("logins", people.logins),
    ("restored logins", people.restored),
    ("PUBLIC", rights.public),
    ("versions of workers", people.workers),
)


def examine(settings: ServiceSettings) -> Iterator[Symptom]:
    """Every symptom, parts first; what cannot be seen is said so."""
    parts = Stack(settings).health()
    for part in parts:
        yield Symptom(part.part, "well" if part.healthy else "ill", part.note, part.cure)
    if all(part.healthy for part in parts if part.part in {"postgres", "schema"}):
        yield from _database(database_address(settings))
    yield from _seen("Redis", lambda: redis.symptoms(settings))
    yield from _seen("disk", lambda: disk.symptoms(settings))
    yield from _seen("heads kept elsewhere", lambda: heads.symptoms(settings))


def _database(url: str) -> Iterator[Symptom]:
    with connect(url) as connection:
        for check, look in IN_THE_DATABASE:
            yield from _seen(check, lambda look=look: _looked(connection, look))  # type: ignore[misc]


def _looked(connection: Session, look: Look) -> Iterator[Symptom]:
    """A look, and no more: nothing is waited for, nothing is changed, not even the session, which may be a pooler's."""
    with settled(connection), connection.transaction():
        connection.execute("set transaction read only; set local statement_timeout = '30s'")
        yield from look(connection)


def _seen(check: str, look: Callable[[], Iterator[Symptom]]) -> Iterator[Symptom]:
    try:
        with translate_errors():
            yield from look()
    except (LoradexError, psycopg.Error, OSError) as error:
        yield Symptom(check, "unknown", f"could not be looked at: {' '.join(str(error).split())}")
