"""The API in this process, in front of the running stack, with keys of two tenants.

Its packages are imported when they are needed, so that tests of other rooms run without the extra `serve`.
"""

import hashlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from tests.asked import Ask
from tests.fix_answering import Stack
from tests.fix_db import with_user
from tests.serving import serving

from loradex.db.session import connect
from loradex.metrics_port import MetricsPort
from loradex.service.client import AsyncClient

if TYPE_CHECKING:
    from openai import OpenAI

    from loradex.service.api.door import Door


@dataclass(frozen=True)
class Served:
    """Where the API is, and keys.

    Attributes:
        url: Its address, without `/v1`.
        database_url: The owner's address of the database behind it.
        alice, bob: Keys of two tenants.
        http: Connections to it, which all tests share.
        metrics: The address of its metrics.
    """

    url: str
    database_url: str
    alice: str
    bob: str
    http: httpx2.Client
    metrics: str

    def client(self, key: str | None = None) -> "OpenAI":
        """OpenAI's client, as it comes but for its retries, which would hide what was refused."""
        from openai import OpenAI  # noqa: PLC0415

        return OpenAI(
            base_url=f"{self.url}/v1", api_key=key or self.alice, max_retries=0, http_client=self.http
        )

    def key(self, owner: str, **options: object) -> tuple[int, str]:
        """Another key, and its number."""
        return made_key(self.database_url, owner, **options)


def made_key(database_url: str, owner: str, **options: object) -> tuple[int, str]:
    key = f"lx_{secrets.token_urlsafe(32)}"
    named = "".join(f", {name} => %({name})s" for name in options)
    with connect(database_url) as connection:
        row = connection.execute(
            f"select loradex.create_api_key(%(owner)s, 'of a test', %(hash)s{named})".encode(),
            {"owner": owner, "hash": hashlib.sha256(key.encode()).digest(), **options},
        ).fetchone()
    assert row is not None
    return int(row[0]), key


@pytest.fixture(scope="session")
def served(answering: Stack) -> Iterator[Served]:
    """The API on a port of its own; its login is one of the role client."""
    from prometheus_client import CollectorRegistry  # noqa: PLC0415

    from loradex.service.api.server import application  # noqa: PLC0415

    login = with_user(answering.database_url, "loradex_client")
    registry = CollectorRegistry()

    def make() -> "Door":
        return application(AsyncClient(login, answering.redis_url), registry)

    alice, bob = (made_key(answering.database_url, owner)[1] for owner in ("alice", "bob"))
    with (
        serving(make) as url,
        httpx2.Client(timeout=60) as http,
        MetricsPort("127.0.0.1", 0, registry) as seen,
    ):
        yield Served(url, answering.database_url, alice, bob, http, metrics=seen.address)


@pytest.fixture
def ask(served: Served) -> Ask:
    """A request as alice, or with another key; None sends none."""

    def request(
        method: str,
        path: str,
        key: str | None = served.alice,
        headers: dict[str, str] | None = None,
        **options: Any,
    ) -> httpx2.Response:
        shown = {} if key is None else {"authorization": f"Bearer {key}"}
        return served.http.request(method, served.url + path, headers={**shown, **(headers or {})}, **options)

    return request
