"""A real Valkey, one for the whole run; each test finds it empty."""

from collections.abc import Iterator

import pytest
import redis

from loradex.embedded import EmbeddedValkey


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedValkey]:
    server = EmbeddedValkey(tmp_path_factory.mktemp("valkey"))
    server.start()
    yield server
    server.destroy()


@pytest.fixture
def redis_url(valkey: EmbeddedValkey) -> str:
    """URL of the server, without anything in it; a test that killed it gets it back."""
    url = valkey.start()
    with redis.Redis.from_url(url) as client:
        client.flushall()
    return url
