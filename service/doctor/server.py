"""The server of the database: versions, settings, memory, clock."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg

from loradex.service.doctor.symptom import State, Symptom

Connection = psycopg.Connection[tuple[Any, ...]]

ADVISED_POSTGRES = 18
ADVISED_VECTOR = (0, 8, 4)
VERSIONS = """
    select current_setting('server_version'), current_setting('server_version_num')::int / 10000,
           e.extversion, a.default_version
    from pg_extension e join pg_available_extensions a on a.name = e.extname where e.extname = 'vector'"""
NEEDED = {
    "fsync": ("on", "a power cut would lose answers"),
    "full_page_writes": ("on", "a power cut could damage the data"),
    "password_encryption": ("scram-sha-256", "passwords are kept in a weaker form"),
}
MINIMA = """
    select s.name, current_setting(s.name), s.minimum
    from (values ('shared_buffers', '128MB'), ('maintenance_work_mem', '64MB'), ('work_mem', '4MB')) s (name, minimum)
    where pg_size_bytes(current_setting(s.name)) < pg_size_bytes(s.minimum)"""
INDEXES = """
    select pg_size_pretty(sum(pg_relation_size(i.indexrelid))), current_setting('shared_buffers')
    from pg_index i where i.indrelid = 'loradex.example_embeddings'::regclass
    having sum(pg_relation_size(i.indexrelid)) > pg_size_bytes(current_setting('shared_buffers'))"""
CONNECTIONS = """
    select count(*), current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
    from pg_stat_activity where backend_type = 'client backend'"""
FULL = 0.8
APART_SECONDS, FAR_APART_SECONDS = 2.0, 60.0


def versions(connection: Connection) -> Iterator[Symptom]:
    row = connection.execute(VERSIONS).fetchone()
    if row is None:
        yield Symptom("pgvector", "ill", "the extension is not in this database", "run `loradex db upgrade`")
        return
    shown, major, vector, available = row
    known = f"Postgres {shown}, pgvector {vector}"
    if major < ADVISED_POSTGRES:
        yield Symptom(
            "versions", "look", known, f"Loradex is tested with Postgres {ADVISED_POSTGRES}: move to it"
        )
    elif _numbers(vector) < ADVISED_VECTOR:
        newer = (
            "run `alter extension vector update`"
            if _numbers(available) >= ADVISED_VECTOR
            else "install 0.8.4"
        )
        yield Symptom("versions", "look", known, f"older ones build indexes with faults: {newer}")
    else:
        yield Symptom("versions", "well", known)


def settings(connection: Connection) -> Iterator[Symptom]:
    wrong = 0
    for name, (wanted, otherwise) in NEEDED.items():
        row = connection.execute("select current_setting(%s)", (name,)).fetchone()
        if row is not None and row[0] != wanted:
            wrong += 1
            yield Symptom(
                f"setting {name}",
                "ill",
                f"{row[0]}: {otherwise}",
                f"alter system set {name} = '{wanted}'; select pg_reload_conf()",
            )
    if not wrong:
        yield Symptom(
            "settings of Postgres", "well", ", ".join(f"{name} {one[0]}" for name, one in NEEDED.items())
        )
    used, most = connection.execute(CONNECTIONS).fetchone() or (0, 1)
    if used > FULL * most:
        cure = "raise max_connections and restart Postgres, or run fewer clients and workers"
        yield Symptom("connections", "look", f"{used} of {most} are open", cure)


def memory(connection: Connection) -> Iterator[Symptom]:
    low = connection.execute(MINIMA).fetchall()
    for name, value, minimum in low:
        restart = "; restart Postgres" if name == "shared_buffers" else "; select pg_reload_conf()"
        yield Symptom(f"memory {name}", "look", str(value), f"alter system set {name} = '{minimum}'{restart}")
    large = connection.execute(INDEXES).fetchone()
    if large is not None:
        yield Symptom(
            "memory shared_buffers",
            "look",
            f"the index of examples has {large[0]}, shared_buffers {large[1]}: searches read from the disk",
            "alter system set shared_buffers to more than the index, about a quarter of the memory; restart Postgres",
        )
    if not low and large is None:
        yield Symptom("memory of Postgres", "well", "shared_buffers holds the index of examples")


def clock(connection: Connection) -> Iterator[Symptom]:
    before = datetime.now(UTC)
    row = connection.execute("select clock_timestamp()").fetchone()
    after = datetime.now(UTC)
    if row is None:
        return
    # Whatever lies between question and answer may be the way.
    apart = max((before - row[0]).total_seconds(), (row[0] - after).total_seconds(), 0.0)
    state: State = "well" if apart < APART_SECONDS else "look" if apart < FAR_APART_SECONDS else "ill"
    cure = (
        None if state == "well" else "keep both clocks by NTP; leases and times of answers are the database's"
    )
    yield Symptom("clock", state, f"this machine and the database are {apart:.1f} s apart", cure)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
