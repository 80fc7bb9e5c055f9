"""A real PgBouncer in transaction mode, before a Postgres of the tests."""

import os
import re
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit, urlunsplit

import psycopg
from tests.needs import program

from loradex.embedded.ports import LOOPBACK, free_port

SESSIONS = 3
"""Of the server, for each user and database, however many clients there are."""

START_SECONDS = 20.0

KEEPS_PREPARED = (1, 21)
"""From this version on PgBouncer may keep prepared statements for its clients; from 1.24 on it does, unless told."""


class Pooler:
    """Started on entering, with `logins` (user → password) it knows; one user's transactions share few sessions."""

    def __init__(self, directory: Path, server_url: str, logins: Mapping[str, str]) -> None:
        self._program = program("pgbouncer")
        self._server_url = server_url
        self.port = free_port()
        users = directory / "users.txt"
        users.write_text("".join(f'"{user}" "{password}"\n' for user, password in logins.items()))
        self._settings = directory / "pgbouncer.ini"
        self._settings.write_text(
            "[databases]\n"
            f"* = host={LOOPBACK} port={urlsplit(server_url).port}\n"
            "[pgbouncer]\n"
            f"listen_addr = {LOOPBACK}\n"
            f"listen_port = {self.port}\n"
            "unix_socket_dir =\n"
            f"auth_type = trust\nauth_file = {users}\n"
            f"pool_mode = transaction\ndefault_pool_size = {SESSIONS}\nmax_client_conn = 200\n"
            # An older one does not know the setting, and refuses to start with it.
            + ("max_prepared_statements = 0\n" if version_of(self._program) >= KEEPS_PREPARED else "")
        )
        self._log = directory / "pgbouncer.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        # It refuses root, and takes another user's name for an answer.
        other = ["-u", "nobody"] if os.geteuid() == 0 else []
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [self._program, *other, self._settings], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                psycopg.connect(self.through(self._server_url), connect_timeout=2).close()
            except psycopg.OperationalError:
                assert self._process.poll() is None, self._log.read_text()
                assert time.monotonic() < end, self._log.read_text()
                time.sleep(0.05)
            else:
                return self

    def kill(self) -> None:
        """Every connection breaks, on both sides; enter it again to start it at the same port."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait()

    def through(self, url: str) -> str:
        """The URL of a database, by way of this pooler."""
        parts = urlsplit(url)
        return urlunsplit(parts._replace(netloc=f"{parts.username}:{parts.password}@{LOOPBACK}:{self.port}"))


def version_of(pgbouncer: str) -> tuple[int, int]:
    """The version that the program says it has, such as (1, 21)."""
    said = subprocess.run([pgbouncer, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"PgBouncer (\d+)\.(\d+)", said)
    assert found is not None, f"{pgbouncer} --version names no version of PgBouncer: {said!r}"
    return int(found[1]), int(found[2])
