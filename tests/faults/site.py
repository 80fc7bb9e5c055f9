"""The place that is broken or loaded: Postgres, Valkey, workers behind a proxy each, all real processes."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from tests.proxy import Proxy
from tests.stocked import TASKS, stock
from tests.tiny_library import build_tiny_library
from tests.worker_process import WorkerProcess

from loradex.db import migrate
from loradex.embedded import EmbeddedPostgres, EmbeddedValkey

LEASE_SECONDS = 3.0
SWEEP_SECONDS = 0.5
BATCH_ROWS = 8


@dataclass
class Member:
    """A worker and the proxy through which alone it reaches Postgres."""

    worker: WorkerProcess
    proxy: Proxy

    def revive(self) -> None:
        """Start the worker again if it is dead, without waiting for it."""
        if not self.worker.alive:
            self.worker.start(wait=False)


@dataclass
class Site:
    """Everything that takes part."""

    postgres: EmbeddedPostgres
    valkey: EmbeddedValkey
    members: list[Member]
    home: Path

    @property
    def database_url(self) -> str:
        return self.postgres.url

    @property
    def redis_url(self) -> str:
        return self.valkey.url


@contextmanager
def opened(
    workers: int, *, proxied: bool = True, settings: Mapping[str, str] | None = None
) -> Iterator[Site]:
    """A site with running workers in a directory of its own; nothing is left of it afterwards.

    Without `proxied` the workers reach Postgres directly, for those who measure. `settings` are the workers',
    without their prefix.
    """
    home = Path(tempfile.mkdtemp(prefix="loradex-faults-"))
    home.chmod(0o755)
    postgres, valkey = EmbeddedPostgres(home), EmbeddedValkey(home)
    members: list[Member] = []
    try:
        url, redis_url = postgres.start(), valkey.start()
        migrate.upgrade(url)
        library = build_tiny_library(home / "library", TASKS)
        stock(url, library)
        for number in range(workers):
            parts = urlsplit(url)
            proxy = Proxy((str(parts.hostname), int(parts.port or 0)))
            through = parts._replace(netloc=f"{parts.username}:{parts.password}@127.0.0.1:{proxy.port}")
            told = {
                "DATABASE_URL": urlunsplit(through) if proxied else url,
                "REDIS_URL": redis_url,
                "BASE_MODEL_PATH": str(library.base),
                "ENCODER_PATH": str(library.encoder),
                "ADAPTER_ROOTS": str(library.root),
                "LEASE_SECONDS": str(LEASE_SECONDS),
                "SWEEP_SECONDS": str(SWEEP_SECONDS),
                "BATCH_ROWS": str(BATCH_ROWS),
                **(settings or {}),
            }
            members.append(Member(WorkerProcess(home, told, f"worker{number}"), proxy))
            members[-1].worker.start(wait=False)
        for member in members:
            member.worker.wait_ready()
        yield Site(postgres, valkey, members, home)
    finally:
        for member in members:
            member.worker.kill()
            member.proxy.close()
        valkey.destroy()
        postgres.destroy()
        shutil.rmtree(home, ignore_errors=True)
