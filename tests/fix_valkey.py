"""A real Valkey, one for the whole run; each test finds it empty."""

import itertools
from collections.abc import Callable, Iterator

import pytest
import redis

from loradex.embedded import EmbeddedValkey


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedValkey]:
    server = EmbeddedValkey(tmp_path_factory.mktemp("valkey"))
    server.start()
    yield server
    server.destroy()


DATABASES = 16
"""What a Redis has that is told nothing else; the first is `redis_url`'s."""

NewRedisUrl = Callable[[], str]


@pytest.fixture(scope="session")
def new_redis_url(valkey: EmbeddedValkey) -> NewRedisUrl:
    """Gives the URL of a database of the server that nobody else was given."""
    numbers = itertools.count(1)

    def give() -> str:
        number = next(numbers)
        assert number < DATABASES, "each database of the Redis of the tests is in use: start it with more"
        return f"{valkey.start().rsplit('/', 1)[0]}/{number}"

    return give


@pytest.fixture
def redis_url(valkey: EmbeddedValkey) -> str:
    """URL of the server, without anything in it; a test that killed it gets it back."""
    url = valkey.start()
    with redis.Redis.from_url(url) as client:
        client.flushall()
    return url
