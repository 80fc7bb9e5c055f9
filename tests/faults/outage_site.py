"""A place where everything can fail: a worker that reaches Postgres and Redis by name and through TLS."""

import json
import shutil
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import trustme
from tests import preloaded
from tests.fix_db import PASSWORD as ROLES_PASSWORD
from tests.pooler import Pooler
from tests.postgres_server import PostgresServer
from tests.postgres_states import LOGIN
from tests.proxy import Proxy
from tests.redis_server import PASSWORD, RedisServer
from tests.stocked import TASKS, stock
from tests.tiny_library import build_tiny_library
from tests.tls_proxy import TlsProxy
from tests.worker_process import WorkerProcess

from loradex.db import migrate
from loradex.db.logins import GROUPS, set_logins
from loradex.service.client import Client

HOST = "servers.test"
LEASE_SECONDS = 2.0
SWEEP_SECONDS = 0.3
LOCK_TIMEOUT = "500ms"
"""The login's own is ten seconds."""


@dataclass
class OutageSite:
    """Servers, the ways to them, and the one worker.

    Attributes:
        to_postgres: Where words of the worker to Postgres go by in clear.
        to_redis: The same for Redis.
        doors: The TLS ends of both ways.
        certificates: What both doors show; a new one is shown from the next connection on.
        worker_clock: The file that says how far the worker's clock is off; `server_clock` is Postgres's.
        hosts: The file with the only names that the worker knows.
        pooler: On the worker's way to Postgres, where the site was asked for one.
    """

    home: Path
    postgres: PostgresServer
    redis: RedisServer
    to_postgres: Proxy
    to_redis: Proxy
    authority: trustme.CA
    certificates: ssl.SSLContext
    worker_clock: Path
    server_clock: Path
    hosts: Path
    worker: WorkerProcess
    pooler: Pooler | None

    def client(self) -> Client:
        """A client that no fault on the worker's way touches."""
        return Client(self.postgres.url, self.redis.url)

    def cut(self) -> None:
        """Hang up on the worker, so that it must connect anew."""
        self.to_postgres.cut()
        self.to_redis.cut()

    def show_certificate(self, days: int) -> None:
        """Show a certificate that ends in so many days."""
        ends = datetime.now(UTC) + timedelta(days=days)
        certificate = self.authority.issue_cert(HOST, not_before=ends - timedelta(days=30), not_after=ends)
        certificate.configure_cert(self.certificates)

    def said(self, start: int) -> list[dict[str, Any]]:
        """What the worker logged as wrong, from that byte of its log on."""
        lines = self.worker.log.read_bytes()[start:].decode().splitlines()
        said = [json.loads(line) for line in lines if line.startswith("{")]
        return [line for line in said if line["level"] != "info"]


@contextmanager
def opened(*, worker_has_a_clock: bool = False, pooled: bool = False) -> Iterator[OutageSite]:
    """A site whose worker is ready; nothing is left of it afterwards.

    Only the worker of a site of its own gets a clock that can be set: what sets it (libfaketime 0.9.10) now and then
    refuses to sleep. So does one that is `pooled`: a pooler is between, and hides what others are about.
    """
    with ExitStack() as undo:
        home = Path(tempfile.mkdtemp(prefix="loradex-outages-"))
        undo.callback(shutil.rmtree, home, ignore_errors=True)
        home.chmod(0o755)
        worker_clock, server_clock, hosts = home / "worker.clock", home / "server.clock", home / "hosts"
        worker_clock.write_text("+0\n")
        server_clock.write_text("+0\n")
        hosts.write_text(f"127.0.0.1 {HOST}\n")

        postgres = PostgresServer(home / "postgres", preloaded.clock(server_clock))
        undo.callback(postgres.destroy)
        redis = undo.enter_context(RedisServer(home / "redis"))
        url = postgres.start()
        redis.start()
        migrate.upgrade(url)
        set_logins(url, {group.login: (group, ROLES_PASSWORD) for group in GROUPS})
        postgres.run(f"alter role {LOGIN} set lock_timeout = '{LOCK_TIMEOUT}'".encode())
        library = build_tiny_library(home / "library", TASKS)
        stock(url, library)

        authority = trustme.CA()
        authority.cert_pem.write_to_path(home / "authority.pem")
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.set_alpn_protocols(["postgresql"])
        owner = urlsplit(url)
        logins = {str(owner.username): str(owner.password), LOGIN: ROLES_PASSWORD}
        pooler = undo.enter_context(Pooler(home, url, logins)) if pooled else None
        server = int(owner.port or 0) if pooler is None else pooler.port
        to_postgres = Proxy(("127.0.0.1", server))
        undo.callback(to_postgres.close)
        to_redis = Proxy(("127.0.0.1", redis.port))
        undo.callback(to_redis.close)
        postgres_door = undo.enter_context(TlsProxy(("127.0.0.1", to_postgres.port), context))
        redis_door = undo.enter_context(TlsProxy(("127.0.0.1", to_redis.port), context))
        told = {
            "DATABASE_URL": f"postgresql://{LOGIN}:{ROLES_PASSWORD}@{HOST}:{postgres_door.port}/loradex"
            f"?sslnegotiation=direct&sslmode=verify-full&sslrootcert={home / 'authority.pem'}",
            "REDIS_URL": f"rediss://:{PASSWORD}@{HOST}:{redis_door.port}/0?ssl_ca_certs={home / 'authority.pem'}",
            "BASE_MODEL_PATH": str(library.base),
            "ENCODER_PATH": str(library.encoder),
            "ADAPTER_ROOTS": str(library.root),
            "LEASE_SECONDS": str(LEASE_SECONDS),
            "SWEEP_SECONDS": str(SWEEP_SECONDS),
        }
        around = preloaded.names(hosts)
        if worker_has_a_clock:
            around = preloaded.both(preloaded.clock(worker_clock), around)
        worker = WorkerProcess(home, told, environment=around)
        undo.callback(worker.kill)
        site = OutageSite(
            *(home, postgres, redis, to_postgres, to_redis, authority, context),
            *(worker_clock, server_clock, hosts, worker, pooler),
        )
        site.show_certificate(days=30)
        worker.start()
        yield site
