"""A program that uses its client, forks, and uses it in both processes: `-m tests.forking DATABASE REDIS HOW`."""

import asyncio
import gc
import multiprocessing
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from tests.until import until

from loradex.errors import ClientClosedError, JobCancelledError
from loradex.service.client import AsyncClient, Client, Job

WAIT_SECONDS = 30.0


def say(which: str) -> None:
    sys.stdout.write(f"{which}\n")
    sys.stdout.flush()


def connections() -> set[str]:
    """The sockets of this process that lead out of it."""
    found = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(OSError), socket.socket(fileno=os.dup(int(descriptor.name))) as held:
            if held.getpeername():
                found.add(str(descriptor.readlink()))
    return found


def sessions(client: Client) -> set[int]:
    """Postgres' ids of those that the client has."""
    with ExitStack() as held:
        return {
            held.enter_context(client._pool.lent()).info.backend_pid for _ in range(len(client._pool._idle))
        }


def cancelled(wait: Callable[[], Any]) -> bool:
    try:
        wait()
    except JobCancelledError:
        return True
    return False


def use(client: Client) -> None:
    """What a client does, and ends without a worker."""
    job = client.enqueue("Is it forked?")
    assert job.doorbell_error is None
    threading.Timer(0.3, job.cancel).start()
    assert cancelled(lambda: job.wait(timeout=WAIT_SECONDS))
    told = client.stream("Is it forked?", timeout=WAIT_SECONDS)
    threading.Timer(0.3, told.job.cancel).start()
    assert cancelled(lambda: list(told))


def in_child(client: Client, parents: set[str], waited: Job, reading: Iterator[Job]) -> None:
    gc.collect()
    assert not parents & connections(), "the child has a connection of its parent"
    with pytest.raises(ClientClosedError, match="forked"):
        next(reading)
    use(client)
    assert waited.status == "queued"
    say("child")


def of_a_loop(database_url: str, redis_url: str) -> None:
    """One that was not used yet is any process's; one that was is its own's, until it is closed there."""
    unused, used = AsyncClient(database_url, redis_url), AsyncClient(database_url, redis_url)

    async def asked(client: AsyncClient) -> None:
        job = await client.enqueue("Is it awaited?")
        assert await job.cancel() == "cancelled"

    def in_child() -> None:
        asyncio.run(asked(unused))
        with pytest.raises(ClientClosedError, match="forked"):
            asyncio.run(asked(used))
        say("child")

    with asyncio.Runner() as runner:
        runner.run(asked(used))
        mine = connections()
        # It ends without a word to the loop, which is the parent's.
        process = multiprocessing.get_context("fork").Process(target=in_child)
        process.start()
        process.join()
        assert mine == connections()
        runner.run(asked(used))
        runner.run(used.close())
    say("parent")


def main(database_url: str, redis_url: str, how: str) -> None:
    client = Client(database_url, redis_url)
    waited, ends, told = client.enqueue_many({"prompt": "Is it?", "stream": True} for _ in range(3))
    ended: list[bool] = []
    threads = [
        threading.Thread(target=lambda: ended.append(cancelled(lambda: waited.wait(timeout=None)))),
        threading.Thread(target=lambda: ended.append(cancelled(lambda: list(told.stream(timeout=None))))),
    ]
    for thread in threads:
        thread.start()
    reading = client.as_completed([ends, waited], timeout=None)
    ends.cancel()
    assert next(reading).id == ends.id
    until(lambda: client._feed._feed is not None and not client._feed._feed._changed.is_set())
    until(lambda: len(connections()) >= 4)
    before, mine = sessions(client), connections()

    if how == "fork":
        child = os.fork()
        if child == 0:
            in_child(client, mine, waited, reading)
            return
        assert os.waitpid(child, 0)[1] == 0
    else:
        process = multiprocessing.get_context("fork").Process(
            target=in_child, args=(client, mine, waited, reading)
        )
        process.start()
        process.join()
        assert process.exitcode == 0

    assert mine <= connections()
    assert sessions(client) >= before, "the child ended a session of its parent"
    # Who waited goes on waiting, and hears.
    waited.cancel()
    told.cancel()
    for thread in threads:
        thread.join(WAIT_SECONDS)
    assert ended == [True, True]
    assert next(reading).id == waited.id
    use(client)
    client.close()
    say("parent")


if __name__ == "__main__":
    if sys.argv[3] == "asyncio":
        of_a_loop(*sys.argv[1:3])
    else:
        main(*sys.argv[1:])
