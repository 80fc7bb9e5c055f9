"""The place that is broken or loaded: Postgres, Valkey, workers behind a proxy each, all real processes."""

import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from tests.faults.hosts import Host, made
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
    """A worker, the proxies through which alone it reaches Postgres and Valkey, and its host."""

    worker: WorkerProcess
    proxy: Proxy
    bell: Proxy
    host: Host

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
    workers: int,
    *,
    hosts: int = 0,
    proxied: bool = True,
    settings: Mapping[str, str] | None = None,
    python: str = sys.executable,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Site]:
    """A site with running workers in a directory of its own; nothing is left of it afterwards.

    The workers are spread over so many `hosts`, or run on this machine. Without `proxied` they reach the servers
    directly, for those who measure. `settings` are the workers', without their prefix; `environment` are others, as
    they are, and `python` is what runs them.
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
        with made(hosts) as places:
            for number in range(workers):
                host = places[number % hosts] if hosts else Host()
                proxy, bell = (Proxy(_address(one), host.gateway) for one in (url, redis_url))
                told = {
                    "DATABASE_URL": _through(url, proxy, host) if proxied else url,
                    "REDIS_URL": _through(redis_url, bell, host) if proxied else redis_url,
                    "BASE_MODEL_PATH": str(library.base),
                    "ENCODER_PATH": str(library.encoder),
                    "ADAPTER_ROOTS": str(library.root),
                    "LEASE_SECONDS": str(LEASE_SECONDS),
                    "SWEEP_SECONDS": str(SWEEP_SECONDS),
                    "BATCH_ROWS": str(BATCH_ROWS),
                    **(settings or {}),
                }
                worker = WorkerProcess(
                    home,
                    told,
                    f"worker{number}",
                    environment=environment or {},
                    within=host.command,
                    python=python,
                )
                members.append(Member(worker, proxy, bell, host))
                worker.start(wait=False)
            for member in members:
                member.worker.wait_ready()
            yield Site(postgres, valkey, members, home)
    finally:
        for member in members:
            member.worker.kill()
            member.proxy.close()
            member.bell.close()
        valkey.destroy()
        postgres.destroy()
        shutil.rmtree(home, ignore_errors=True)


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return str(parts.hostname), int(parts.port or 0)


def _through(url: str, proxy: Proxy, host: Host) -> str:
    """The URL by way of the proxy, seen from the host."""
    parts = urlsplit(url)
    user = parts.netloc.rpartition("@")[0]
    return urlunsplit(parts._replace(netloc=f"{user}@{host.gateway}:{proxy.port}"))
