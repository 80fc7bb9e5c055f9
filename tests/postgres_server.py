"""A Postgres of a test's own, which may be told anything: frozen, on a small disk, with a clock of its own."""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, LiteralString

import psutil

from loradex.db.session import connect
from loradex.embedded import EmbeddedPostgres, cluster, processes
from loradex.embedded.os_user import Account
from loradex.embedded.processes import Identity

DISK = "600m"
SETTINGS = {
    "max_wal_size": "64MB",
    "min_wal_size": "32MB",
    # The least; so its queue of notices is full after half a megabyte.
    "max_notify_queue_pages": "64",
    "hot_standby": "on",
    # A power cut is not among the faults.
    "fsync": "off",
}


class PostgresServer(EmbeddedPostgres):
    """One server in `home`, on a file system of its own where this user may mount one.

    `environment` is added to the server's, for what is loaded before it.
    """

    def __init__(self, home: Path, environment: Mapping[str, str]) -> None:
        self.home = home
        self._environment = {**cluster.ENVIRONMENT, **environment}
        self.has_own_disk = _mount(home)
        home.chmod(0o755)
        super().__init__(home, settings=SETTINGS)

    def destroy(self) -> None:
        super().destroy()
        if self.has_own_disk:
            subprocess.run(["umount", "--lazy", self.home], check=True)

    @property
    def processes(self) -> list[psutil.Process]:
        """The server and its sessions."""
        identity = Identity.recorded(self._record.part("postgres"))
        server = None if identity is None else identity.process()
        return [] if server is None else [server, *server.children(recursive=True)]

    def send(self, number: signal.Signals) -> None:
        for process in self.processes:
            # A session that goes on may end at once.
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def run(self, *statements: LiteralString) -> list[tuple[Any, ...]]:
        """Statements of the superuser, one transaction each; the rows of the last."""
        with connect(self.url) as connection:
            for statement in statements:
                done = connection.execute(statement)
            return done.fetchall() if done.description else []

    @contextmanager
    def full_disk(self) -> Iterator[None]:
        """Not a byte is free on its file system, which must be its own: nobody else's disk is filled."""
        if not self.has_own_disk:
            raise RuntimeError("the server has no file system of its own: only root may mount one")
        ballast = self.home / "ballast"
        with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(self.home).free * 9 // 10)
            file.seek(0, os.SEEK_END)
            while True:
                file.write(bytes(4096))
        try:
            yield
        finally:
            ballast.unlink()

    def _spawn(self, data: Path, programs: Path, port: int, who: Account | None) -> Identity:
        settings = self._settings | {"port": str(port)}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return processes.start(
            [programs / "postgres", "-D", data, *options],
            log=self.log,
            directory=Path("/"),
            environment=self._environment,
            account=who,
        )


def _mount(place: Path) -> bool:
    """A small file system at `place`; False where this user may not."""
    place.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0:
        return False
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", place], check=False, capture_output=True
    )
    return made.returncode == 0
