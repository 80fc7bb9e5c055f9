"""Whatever Redis answers or does, a worker lives, its sweeps answer, and it hears again once Redis is well."""

import time
from collections.abc import Callable, Iterator

import pytest
from tests.fix_answering import Stack
from tests.fix_db import new_database
from tests.redis_server import RedisServer
from tests.redis_states import STATES
from tests.stocked import stock
from tests.tiny_library import TinyLibrary

from loradex.embedded import EmbeddedPostgres
from loradex.service.client.wakeup import QUEUE

HEALED_SECONDS = 15.0


@pytest.fixture(scope="module")
def kept(
    postgres: EmbeddedPostgres,
    template: str,
    tiny_library: TinyLibrary,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Stack, RedisServer]]:
    home = tmp_path_factory.mktemp("errors")
    with new_database(postgres, template) as url, RedisServer(home / "redis") as server:
        stock(url, tiny_library)
        server.start()
        stack = Stack(url, server.url, tiny_library, home)
        stack.worker().start()
        yield stack, server
        for worker in stack.workers:
            worker.kill()


def until(true: Callable[[], bool], seconds: float = HEALED_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("name", STATES)
def test_a_worker_outlives_it(kept: tuple[Stack, RedisServer], name: str) -> None:
    stack, server = kept
    (worker,) = stack.workers
    if not worker.alive:
        if server.port and not server.says("PONG"):
            server.stop(); server.start()
        server.admin.execute_command("FLUSHALL")
        worker.start()
    with stack.client() as client:
        with STATES[name](server):
            a = time.monotonic()
            try:
                job = client.enqueue("Is it ill?", max_new_tokens=1)
                print("RING", job.doorbell_error)
            except Exception as e:
                print("RING RAISED", repr(e))
                raise
            print("ring took", time.monotonic() - a)
            job.wait(8)
            time.sleep(2)
            again = client.enqueue("Is it still ill?", max_new_tokens=1)
            again.wait(8)
            print("ALIVE", worker.alive)
            assert worker.alive
        b = time.monotonic()
        until(lambda: server.says("PONG"))
        job = client.enqueue("Is it well?", max_new_tokens=1)
        assert job.doorbell_error is None
        until(lambda: server.admin.llen(QUEUE) == 0)
        print("healed after", time.monotonic() - b)
        job.wait(8)
    assert worker.alive
