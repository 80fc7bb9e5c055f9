"""Whatever Redis answers or does, a worker lives and answers, and it hears again once Redis is well."""

import json
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import redis
from tests.fix_answering import Stack, StackOn
from tests.redis_server import PASSWORD, RedisServer
from tests.redis_states import STATES
from tests.until import until
from tests.worker_process import WorkerProcess

from loradex.errors import RedisUnavailableError
from loradex.wakeup import QUEUE
from loradex.worker.wakeup import MOST_REASONS

HEALED_SECONDS = 20.0
ASKED = {"max_new_tokens": 1}
NOWHERE = "redis://127.0.0.1:1/0"
"""So that a client does not wait for a frozen server."""
CURES = {
    "wrong type": "delete the key",
    "replica": "name the primary",
    "replica without data": "name the primary",
    "too few replicas": "min-replicas-to-write",
    "snapshots fail": "write to its disk",
    "a command is forbidden": "allow its user",
    "all commands are forbidden": "allow its user",
    "other keys only": "allow its user",
    "password changed": "the password",
    "loading": "reads its data",
    "one of a cluster": "one of a cluster",
    "dead": "loradex up",
    "cut again and again": "loradex up",
    "a stranger": "LORADEX_REDIS_URL",
}
"""What the worker's log advises; in the other states it may wait for a message as if nothing were."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as made:
        made.start()
        yield made


@pytest.fixture(scope="module")
def site(stack_on: StackOn, server: RedisServer) -> Iterator[Stack]:
    with stack_on("errors", server.url) as made:
        yield made


@pytest.fixture(scope="module")
def worker(site: Stack) -> WorkerProcess:
    """One worker that lives through everything."""
    return site.worker().start()


def hears(server: RedisServer) -> bool:
    """Whether somebody takes what lies in the queue; a sweep would not."""
    with suppress(redis.RedisError):
        return server.admin.llen(QUEUE) == 0
    return False


def lines(worker: WorkerProcess, start: int = 0) -> list[dict[str, Any]]:
    return [json.loads(line) for line in worker.since(start).splitlines() if line.startswith("{")]


def is_well(worker: WorkerProcess) -> bool:
    """Whether the last thing it said about Redis is good, so that it says anew what is not."""
    said = [line["event"] for line in lines(worker) if line["event"].startswith("wakeup.")]
    return said[-1:] in ([], ["wakeup.heard_again"])


@pytest.mark.parametrize("name", STATES)
def test_a_worker_outlives_it_and_hears_again(
    site: Stack, server: RedisServer, worker: WorkerProcess, name: str
) -> None:
    until(lambda: is_well(worker), HEALED_SECONDS)
    start = worker.said
    with site.client() as client:
        with STATES[name](server):
            jobs = [client.enqueue("Is it ill?", **ASKED)]
            jobs[0].wait()
            if name in CURES:
                until(
                    lambda: any(CURES[name] in line.get("cure", "") for line in lines(worker, start)),
                    HEALED_SECONDS,
                )
            else:
                time.sleep(1)
            jobs.append(client.enqueue("Is it still ill?", **ASKED))
            jobs[1].wait()
            assert worker.alive
        told = lines(worker, start)

        until(lambda: server.says("PONG"), HEALED_SECONDS)
        well = client.enqueue("Is it well?", **ASKED)
        assert well.doorbell_error is None
        until(lambda: hears(server), HEALED_SECONDS)
        well.wait()

    assert worker.alive
    assert all(isinstance(job.doorbell_error, RedisUnavailableError | None) for job in jobs)
    troubles = [line for line in told if line["level"] != "info"]
    assert {line["event"] for line in troubles} <= {"wakeup.not_heard"}
    assert len({line["reason"] for line in troubles}) == len(troubles) <= MOST_REASONS


def test_a_worker_starts_under_it_hears_afterwards_and_stops_under_it(
    site: Stack, server: RedisServer
) -> None:
    with STATES["frozen"](server):
        late = site.worker().start()
        with Stack(site.database_url, NOWHERE, site.library, site.home).client() as client:
            client.enqueue("Is anybody up?", **ASKED).wait()
        late.wait_for("wakeup.not_heard")
    late.wait_for("wakeup.heard_again")
    with STATES["wrong type"](server):
        late.wait_for("delete the key")

        assert late.stop(15, signal.SIGINT) == 0
    assert not late.ready_file.exists()


def test_the_rights_that_are_advised_are_enough(site: Stack, server: RedisServer) -> None:
    server.admin.execute_command(
        *("ACL", "SETUSER", "bell", "on", f">{PASSWORD}", "+@all", "-@dangerous"),
        *("resetchannels", "&loradex*"),
        *(f"~{keys}" for keys in ("loradex*", "_kombu*", "unacked*")),
    )
    url = server.url.replace("redis://:", "redis://bell:")
    member = site.worker(REDIS_URL=url).start()
    with Stack(site.database_url, url, site.library, site.home).client() as client:
        job = client.enqueue("May I?", **ASKED, stream=True)
        assert job.doorbell_error is None
        job.wait()
    until(lambda: hears(server), HEALED_SECONDS)
    assert member.stop() == 0
    said = member.tail(200_000)
    assert "wakeup.not_heard" not in said
    assert "pieces.not_told" not in said


def test_a_worker_stops_under_it(site: Stack, server: RedisServer) -> None:
    member = site.worker().start()
    with STATES["frozen"](server):
        assert member.stop(15, signal.SIGTERM) == 0
    assert not member.ready_file.exists()
