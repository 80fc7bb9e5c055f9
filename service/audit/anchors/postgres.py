"""An anchor in another Postgres, whose administrators are not those of the database that is anchored."""

from collections.abc import Iterator

import psycopg
from psycopg.rows import class_row

from loradex.db.session import connect, translate_errors
from loradex.embedded.health import without_password
from loradex.errors import AnchorError, LoradexError
from loradex.service.audit.anchors.anchor import PATIENCE_SECONDS, Kept, bounded
from loradex.service.audit.head import Head

MAKE = """
    create table if not exists public.loradex_heads (
        position bigint not null,
        chain_hash text not null check (chain_hash ~ '^[0-9a-f]{64}$'),
        at timestamptz not null default now()
    )"""
THERE = "select to_regclass('public.loradex_heads') is not null"


class PostgresAnchor:
    """One table, `public.loradex_heads`, to which heads are added; a login that may insert and select is enough."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.name = without_password(url)

    def keep(self, head: Head) -> None:
        try:
            with connect(self._url) as connection, translate_errors():
                if not self._prepared(connection):
                    connection.execute(MAKE)
                connection.execute(
                    "insert into public.loradex_heads (position, chain_hash) values (%s, %s)",
                    (head.position, head.chain_hash),
                )
        except (LoradexError, psycopg.Error) as error:
            raise self._failed("written", error) from error

    def heads(self) -> Iterator[Kept]:
        yield from bounded(self.name, self._rows())

    def _rows(self) -> Iterator[Kept]:
        try:
            with connect(self._url) as connection, translate_errors():
                if not self._prepared(connection):
                    return
                with (
                    connection.transaction(),
                    connection.cursor("heads", row_factory=class_row(Kept)) as cursor,
                ):
                    yield from cursor.execute("select position, chain_hash, at from public.loradex_heads")
        except (LoradexError, psycopg.Error) as error:
            raise self._failed("read", error) from error

    def _prepared(self, connection: psycopg.Connection[tuple[object, ...]]) -> bool:
        connection.execute(f"set statement_timeout = '{PATIENCE_SECONDS}s'".encode())
        row = connection.execute(THERE).fetchone()
        return row is not None and bool(row[0])

    def _failed(self, what: str, error: Exception) -> AnchorError:
        return AnchorError(f"{self.name} cannot be {what}: {' '.join(str(error).split())}")
