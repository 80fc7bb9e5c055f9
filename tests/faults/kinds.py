"""The kinds of fault. Each returns when the harm is done, not when it is healed."""

import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import urlsplit
from uuid import UUID

import psutil
import redis
from celery import Celery
from tests.faults.site import LEASE_SECONDS, Member, Site

from loradex.db.address import NETWORK
from loradex.wakeup import QUEUE, TASK

RECORDING = "recipe_hash"
"""A word only `record_answer` is told; the function's name is not sent again once it is prepared."""
TRAP_SECONDS = 4.0
DELIVERIES = 10

Fault = Callable[[Site, random.Random, Sequence[UUID]], None]


def kill_worker(site: Site, dice: random.Random, _: Sequence[UUID]) -> None:
    """SIGKILL at any moment."""
    dice.choice(site.members).worker.kill()


def kill_worker_before_commit(site: Site, dice: random.Random, _: Sequence[UUID]) -> None:
    """SIGKILL when the answer is made and the database has not heard of it."""
    _at_recording(site, dice, lambda member: member.worker.kill())


def kill_valkey(site: Site, _: random.Random, __: Sequence[UUID]) -> None:
    """SIGKILL Valkey and start it again, empty."""
    process = _listener(site.valkey.url)
    process.kill()
    process.wait()
    site.valkey.start()


def flush_valkey(site: Site, _: random.Random, __: Sequence[UUID]) -> None:
    """Every message is lost."""
    with redis.Redis.from_url(site.valkey.url) as connection:
        connection.flushall()


def restart_postgres_fast(site: Site, _: random.Random, __: Sequence[UUID]) -> None:
    """Every connection is ended by the server, as at an update."""
    site.postgres.stop("fast")
    site.postgres.start()


def restart_postgres_immediately(site: Site, _: random.Random, __: Sequence[UUID]) -> None:
    """The server dies without a checkpoint and recovers from its log."""
    site.postgres.stop("immediate")
    site.postgres.start()


def cut_connections(site: Site, dice: random.Random, _: Sequence[UUID]) -> None:
    """Every connection of a worker breaks at any moment."""
    dice.choice(site.members).proxy.cut()


def cut_before_commit(site: Site, dice: random.Random, _: Sequence[UUID]) -> None:
    """The connection breaks over which an answer is being sent."""
    _at_recording(site, dice, lambda _: None)


def cut_after_commit(site: Site, dice: random.Random, _: Sequence[UUID]) -> None:
    """The database has the answer, and the worker never hears so."""
    _at_recording(site, dice, lambda _: None, after=True)


def stop_worker_past_its_lease(site: Site, dice: random.Random, _: Sequence[UUID]) -> None:
    """A worker freezes with its batch in hand, others take over, and it wakes up."""
    worker = dice.choice(site.members).worker
    worker.send(signal.SIGSTOP)
    time.sleep(LEASE_SECONDS + 1.5)
    worker.send(signal.SIGCONT)


def freeze_postgres(site: Site, _: random.Random, __: Sequence[UUID]) -> None:
    """No session gets an answer, and none is told; leases run out meanwhile."""
    with _frozen(_listener(site.database_url)):
        time.sleep(LEASE_SECONDS + 0.5)


def freeze_valkey(site: Site, _: random.Random, __: Sequence[UUID]) -> None:
    """The bell answers nobody for a while."""
    with _frozen(_listener(site.redis_url)):
        time.sleep(LEASE_SECONDS)


def pull_a_cable(site: Site, dice: random.Random, _: Sequence[UUID]) -> None:
    """A worker's host is cut off without a word, past its lease; without hosts, its connections break."""
    _pull_a_cable(dice.choice(site.members), LEASE_SECONDS + 1.5)


def pull_a_cable_for_long(site: Site, dice: random.Random, _: Sequence[UUID]) -> None:
    """So long that both sides give the connection up."""
    _pull_a_cable(dice.choice(site.members), NETWORK["tcp_user_timeout"] / 1000 + 10)


def deliver_tenfold(site: Site, _: random.Random, jobs: Sequence[UUID]) -> None:
    """The same messages, ten times."""
    with Celery("faults", broker=site.redis_url, set_as_current=False) as app:
        for _ in range(DELIVERIES):
            for job in jobs:
                app.send_task(TASK, args=[str(job)], task_id=str(job), queue=QUEUE)


def _listener(url: str) -> psutil.Process:
    """The process that listens at that port."""
    port = urlsplit(url).port
    return next(
        psutil.Process(connection.pid)
        for connection in psutil.net_connections("tcp4")
        if connection.laddr.port == port and connection.status == psutil.CONN_LISTEN and connection.pid
    )


@contextmanager
def _frozen(process: psutil.Process) -> Iterator[None]:
    frozen = [process, *process.children(recursive=True)]
    for one in frozen:
        one.suspend()
    try:
        yield
    finally:
        for one in frozen:
            one.resume()


def _pull_a_cable(member: Member, seconds: float) -> None:
    if not member.host.name:
        member.proxy.cut()
        member.bell.cut()
        return
    member.host.pull_cable()
    try:
        time.sleep(seconds)
    finally:
        member.host.plug_cable()


def _at_recording(
    site: Site, dice: random.Random, then: Callable[[Member], None], *, after: bool = False
) -> None:
    """Break the next connection that carries an answer, whichever worker sends one first."""
    sprung = threading.Event()
    turn = threading.Lock()

    def spring(member: Member) -> Callable[[], None]:
        def act() -> None:
            with turn:
                if not sprung.is_set():
                    then(member)
                    sprung.set()

        return act

    for member in dice.sample(site.members, len(site.members)):
        member.proxy.cut_at(RECORDING, "after" if after else "before", spring(member))
    sprung.wait(TRAP_SECONDS)
    for member in site.members:
        member.proxy.disarm()
