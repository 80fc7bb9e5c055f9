"""A Redis behind a password and TLS wakes workers as a bare one does, and nobody talks to an impostor."""

import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
import redis
import trustme
import yaml
from tests.fix_answering import NO_POSTGRES, NO_SWEEP, Stack
from tests.redis_server import PASSWORD, RedisServer
from tests.repository import ROOT
from tests.tls_proxy import TlsProxy
from tests.until import until

from loradex.db.session import connect
from loradex.embedded import health
from loradex.pieces import PREFIX, place_of
from loradex.service.client import Client
from loradex.wakeup import QUEUE
from loradex.worker.jobs import Job as Claimed
from loradex.worker.pieces import Pieces


@dataclass
class Secured:
    """The URL of a Redis behind TLS, the certificate to check it by, and its door."""

    url: str
    authority: Path
    proxy: TlsProxy

    @property
    def verified(self) -> str:
        return f"{self.url}?ssl_cert_reqs=required&ssl_ca_certs={self.authority}"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def secured(redis_url: str, authority: trustme.CA, tmp_path: Path) -> Iterator[Secured]:
    """The test's Valkey behind a certificate for `localhost` that only `authority` vouches for."""
    parts = urlsplit(redis_url)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    with TlsProxy((str(parts.hostname), int(parts.port or 0)), context) as proxy:
        url = f"rediss://:{parts.password}@localhost:{proxy.port}/0"
        yield Secured(url, tmp_path / "authority.pem", proxy)


def test_the_server_asks_for_its_password(redis_url: str) -> None:
    parts = urlsplit(redis_url)
    assert parts.password
    with (
        redis.Redis(host=str(parts.hostname), port=int(parts.port or 0)) as stranger,
        pytest.raises(redis.AuthenticationError),
    ):
        stranger.ping()


def test_a_worker_is_woken_over_tls(stack: Stack, secured: Secured) -> None:
    stack.worker(REDIS_URL=secured.verified, LISTEN_URL=NO_POSTGRES, SWEEP_SECONDS=NO_SWEEP).start()

    with Client(stack.database_url, secured.verified) as client:
        job = client.enqueue("Is the wire safe?", choices=["yes", "no"])
        assert job.doorbell_error is None
        assert job.wait(60).choice in {"yes", "no"}
    assert secured.proxy.connections > 1
    assert health.redis_server(secured.verified, "").healthy


@pytest.mark.parametrize("parameters", ["", "?ssl_ca_certs=/etc/ssl/certs/ca-certificates.crt"])
def test_an_unknown_certificate_is_not_trusted(stack: Stack, secured: Secured, parameters: str) -> None:
    worker = stack.worker(REDIS_URL=secured.url + parameters).start()
    with Client(stack.database_url, secured.url + parameters) as client:
        job = client.enqueue("Who is there?", max_new_tokens=2)
        assert "?ssl_ca_certs=" in str(job.doorbell_error)
        # Its worker hears of it from Postgres, too.
        assert job.wait(60).text is not None
    assert secured.proxy.connections == 0
    worker.wait_for("certificate verify failed")
    assert not health.redis_server(secured.url + parameters, "").healthy


def test_a_certificate_of_another_host_is_not_trusted(stack: Stack, secured: Secured) -> None:
    elsewhere = secured.verified.replace("localhost", "127.0.0.1")
    with Client(stack.database_url, elsewhere) as client:
        assert client.enqueue("Is it you?", max_new_tokens=1).doorbell_error is not None
    assert secured.proxy.connections == 0


def test_a_wrong_password_rings_no_bell_and_loses_no_job(stack: Stack, redis_url: str) -> None:
    parts = urlsplit(redis_url)
    wrong = f"redis://:hidden-4711@{parts.hostname}:{parts.port}/0"
    worker = stack.worker(REDIS_URL=wrong).start()
    with Client(stack.database_url, wrong) as client:
        job = client.enqueue("Is it locked?", max_new_tokens=2)
        assert "correct the user and the password" in str(job.doorbell_error)
        assert job.wait(60).text is not None
    assert worker.alive
    assert "hidden-4711" not in worker.tail(200_000) + str(job.doorbell_error)


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server with the users of `docker-compose.yml`."""
    content = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["configs"]["redis"]["content"]
    (user,) = [line for line in content.splitlines() if line.startswith("user ")]
    with RedisServer(tmp_path_factory.mktemp("deployed")) as server:
        server.start(re.sub(r">\$\{[^}]*\}", f">{PASSWORD}", user))
        yield server


def test_the_client_of_the_deployment_rings_and_hears(answering: Stack, deployed: RedisServer) -> None:
    address = deployed.url.replace("redis://:", "redis://client:")
    with Client(answering.database_url, address) as client, Pieces(deployed.url) as writer:
        with answering.routing_held():
            stream = client.stream("Who is there?", max_new_tokens=4)
            assert stream.job.doorbell_error is None
            assert deployed.admin.llen(QUEUE) == 1
            with connect(answering.database_url) as owner:
                ((key,),) = owner.execute(
                    "select pieces_key from loradex.jobs where id = %s", (stream.job.id,)
                ).fetchall()
            writer.put(
                Claimed(stream.job.id, "generate", "?", None, None, None, {}, 0, key, 0, 0.0), "Nobody"
            )
            until(lambda: deployed.admin.exists(place_of(key)))
            assert next(stream) == "Nobody"
        stream.close()


@pytest.mark.parametrize(
    "words",
    [
        *("KEYS *", "SCAN 0", "RANDOMKEY", "DBSIZE", "FLUSHALL", "MONITOR", "CLIENT LIST", "CONFIG GET *"),
        *("PUBSUB CHANNELS", f"PSUBSCRIBE {PREFIX}*", "PSUBSCRIBE *", "SUBSCRIBE other"),
        *("EVAL return 0", "ACL LIST", "INFO", f"LRANGE {QUEUE} 0 -1", f"DEL {QUEUE}", "GET other"),
        *(
            f"XADD {PREFIX}1 * attempt 1",
            f"DEL {PREFIX}1",
            f"PUBLISH {PREFIX}1 x",
            f"XREAD STREAMS {QUEUE} 0",
        ),
    ],
)
def test_it_finds_no_place_and_writes_to_none(deployed: RedisServer, words: str) -> None:
    with (
        redis.Redis(port=deployed.port, username="client", password=PASSWORD, retry=None) as client,
        pytest.raises(redis.exceptions.NoPermissionError),
    ):
        client.execute_command(*words.split())


def test_who_knows_a_place_reads_there(deployed: RedisServer) -> None:
    place = place_of(uuid4())
    deployed.admin.xadd(place, {"attempt": 1})
    with redis.Redis(port=deployed.port, username="client", password=PASSWORD, retry=None) as client:
        assert client.xread({place: "0"})
