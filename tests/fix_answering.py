"""A stack that answers: a stocked database, an empty Redis, and a real worker on a tiny model."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import redis
from tests.fix_db import new_database
from tests.fix_valkey import NewRedisUrl
from tests.stocked import TASKS, stock
from tests.tiny_library import TinyLibrary, build_tiny_library
from tests.worker_process import WorkerProcess

from loradex.db.session import connect
from loradex.embedded import EmbeddedPostgres
from loradex.service.client import Client

SWEEP_SECONDS = "0.5"
NO_SWEEP = "600"
"""Seconds; a worker with these hears of a job that is answered before."""

NO_REDIS = "redis://127.0.0.1:1/0"
NO_POSTGRES = "postgresql://nobody@127.0.0.1:1/nowhere"
"""A worker that listens there hears of no job; it finds them by itself, or Redis wakes it."""


@dataclass
class Stack:
    """Where everything is, and the workers that were started here."""

    database_url: str
    redis_url: str
    library: TinyLibrary
    home: Path
    workers: list[WorkerProcess] = field(default_factory=list)

    def worker(self, **settings: str) -> WorkerProcess:
        """A worker that is not started yet; settings without their prefix."""
        base = {
            "DATABASE_URL": self.database_url,
            "REDIS_URL": self.redis_url,
            "BASE_MODEL_PATH": str(self.library.base),
            "ENCODER_PATH": str(self.library.encoder),
            "ADAPTER_ROOTS": str(self.library.root),
            "SWEEP_SECONDS": SWEEP_SECONDS,
        }
        self.workers.append(WorkerProcess(self.home, base | settings, f"worker{len(self.workers)}"))
        return self.workers[-1]

    def client(self) -> Client:
        return Client(self.database_url, self.redis_url)

    @contextmanager
    def routing_held(self) -> Iterator[None]:
        """No job is routed meanwhile: whoever claims jobs holds them, and gets no further.

        To cancel them or to end them waits for the end of this too.
        """
        with connect(self.database_url) as holder, holder.transaction():
            holder.execute("lock table loradex.routings in exclusive mode")
            yield

    def environment(self) -> dict[str, str]:
        """What a program of Loradex needs to find this stack."""
        return {
            "LORADEX_HOME": str(self.home),
            "LORADEX_DATABASE_URL": self.database_url,
            "LORADEX_REDIS_URL": self.redis_url,
            "LORADEX_BASE_MODEL_PATH": str(self.library.base),
            "LORADEX_ENCODER_PATH": str(self.library.encoder),
            "LORADEX_ADAPTER_ROOTS": str(self.library.root),
            "LORADEX_DEVICE": "cpu",
        }


@pytest.fixture(scope="session")
def tiny_library(tmp_path_factory: pytest.TempPathFactory) -> TinyLibrary:
    return build_tiny_library(tmp_path_factory.mktemp("tiny"), TASKS)


StackOn = Callable[..., AbstractContextManager[Stack]]


@pytest.fixture(scope="session")
def stack_on(
    postgres: EmbeddedPostgres,
    template: str,
    tiny_library: TinyLibrary,
    new_redis_url: NewRedisUrl,
    tmp_path_factory: pytest.TempPathFactory,
) -> StackOn:
    """Opens a stack of a module's own, by a name for its directory: on `redis_url`, or on a database of our Redis."""

    @contextmanager
    def opened(name: str, redis_url: str | None = None) -> Iterator[Stack]:
        with new_database(postgres, template) as url:
            stock(url, tiny_library)
            made = Stack(url, redis_url or new_redis_url(), tiny_library, tmp_path_factory.mktemp(name))
            try:
                yield made
            finally:
                for worker in made.workers:
                    worker.kill()

    return opened


@pytest.fixture
def stack(database_url: str, redis_url: str, tiny_library: TinyLibrary, tmp_path: Path) -> Iterator[Stack]:
    """A stack of the test's own, without a worker."""
    stock(database_url, tiny_library)
    made = Stack(database_url, redis_url, tiny_library, tmp_path)
    yield made
    for worker in made.workers:
        worker.kill()


@pytest.fixture(scope="session")
def stocked_database(postgres: EmbeddedPostgres, template: str, tiny_library: TinyLibrary) -> Iterator[str]:
    """URL of a stocked database without a worker, for all tests that only knock at doors."""
    with new_database(postgres, template) as url:
        stock(url, tiny_library)
        yield url


@pytest.fixture(scope="session")
def answering(stack_on: StackOn) -> Iterator[Stack]:
    """One stack with a running worker for all tests that break nothing."""
    with stack_on("answering") as made:
        made.worker(METRICS_PORT="0").start()
        yield made


@pytest.fixture
def client(answering: Stack) -> Iterator[Client]:
    """A client of the running stack."""
    with answering.client() as made:
        yield made


@pytest.fixture
def wakeups(answering: Stack) -> Iterator[redis.Redis]:
    """The Redis of the running stack."""
    with redis.Redis.from_url(answering.redis_url) as opened:
        yield opened
