"""The states in which a real Redis takes no message or gives none, and back out of them."""

import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import redis
from tests.redis_server import PASSWORD, RedisServer
from tests.until import until

from loradex.wakeup import QUEUE

State = Callable[[RedisServer], AbstractContextManager[None]]

NOBODY = ("127.0.0.1", "1")
KEYS_TO_LOAD = 5000


def _setting(name: str, bad: str, good: str) -> State:
    @contextmanager
    def state(server: RedisServer) -> Iterator[None]:
        server.admin.config_set(name, bad)
        try:
            yield
        finally:
            server.admin.config_set(name, good)

    return state


def _rights(*bad: str) -> State:
    @contextmanager
    def state(server: RedisServer) -> Iterator[None]:
        server.admin.execute_command("ACL", "SETUSER", "default", *bad)
        server.cut()
        try:
            yield
        finally:
            server.admin.execute_command("ACL", "SETUSER", "default", "on", "resetkeys", "~*", "+@all", "&*")

    return state


@contextmanager
def wrong_type(server: RedisServer) -> Iterator[None]:
    server.admin.delete(QUEUE)
    server.admin.set(QUEUE, "of somebody else")
    try:
        yield
    finally:
        server.admin.delete(QUEUE)


@contextmanager
def replica(server: RedisServer) -> Iterator[None]:
    server.admin.replicaof(*NOBODY)
    try:
        yield
    finally:
        server.admin.replicaof("NO", "ONE")


@contextmanager
def replica_without_data(server: RedisServer) -> Iterator[None]:
    server.admin.config_set("replica-serve-stale-data", "no")
    try:
        with replica(server):
            yield
    finally:
        server.admin.config_set("replica-serve-stale-data", "yes")


@contextmanager
def password_changed(server: RedisServer) -> Iterator[None]:
    server.admin.config_set("requirepass", "another")
    server.cut()
    try:
        yield
    finally:
        server.admin.config_set("requirepass", PASSWORD)


@contextmanager
def snapshots_fail(server: RedisServer) -> Iterator[None]:
    gone = server.directory / "gone"
    gone.mkdir()
    server.admin.config_set("dir", str(gone))
    gone.rmdir()
    server.admin.set("something", "changed")
    server.admin.config_set("save", "3600 1")
    server.admin.bgsave()
    until(lambda: server.admin.info("persistence")["rdb_last_bgsave_status"] == "err")
    try:
        yield
    finally:
        server.admin.config_set("dir", str(server.directory))
        server.admin.config_set("save", "")


@contextmanager
def loading(server: RedisServer) -> Iterator[None]:
    with server.admin.pipeline() as several:
        for number in range(KEYS_TO_LOAD):
            several.set(f"key {number}", "x" * 100)
        several.execute()
    server.admin.save()
    server.stop()
    server.start("key-load-delay 1000", "loading-process-events-interval-bytes 1024")
    try:
        yield
    finally:
        until(lambda: not server.admin.info("persistence")["loading"])
        server.admin.flushall()


@contextmanager
def cluster(server: RedisServer) -> Iterator[None]:
    """It is one of a cluster's servers, and the queue belongs to another one."""
    clustered = ("cluster-enabled yes", "cluster-require-full-coverage no")
    server.stop()
    with RedisServer(server.directory / "other") as other:
        other.start(*clustered)
        server.start(*clustered)
        other.admin.execute_command("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        server.admin.execute_command("CLUSTER", "MEET", "127.0.0.1", other.port, other.cluster_port)
        until(lambda: server.says("MOVED"))
        try:
            yield
        finally:
            server.stop()
    for file in server.directory.rglob("nodes*.conf"):
        file.unlink()
    server.start()


@contextmanager
def busy(server: RedisServer) -> Iterator[None]:
    """A script runs and runs."""
    server.admin.config_set("busy-reply-threshold", "50")

    def run() -> None:
        with contextlib.suppress(redis.RedisError), server.client() as other:
            other.execute_command("EVAL", "while true do end", 0)

    script = threading.Thread(target=run)
    script.start()
    until(lambda: server.says("BUSY"))
    try:
        yield
    finally:
        server.admin.script_kill()
        script.join()


@contextmanager
def dead(server: RedisServer) -> Iterator[None]:
    server.stop(signal.SIGKILL)
    try:
        yield
    finally:
        server.start()


@contextmanager
def frozen(server: RedisServer) -> Iterator[None]:
    server.send(signal.SIGSTOP)
    try:
        yield
    finally:
        server.send(signal.SIGCONT)


@contextmanager
def cut_again_and_again(server: RedisServer) -> Iterator[None]:
    """Every connection is cut every few milliseconds."""
    over = threading.Event()

    def run() -> None:
        while not over.wait(0.005):
            server.cut()

    cutting = threading.Thread(target=run)
    cutting.start()
    try:
        yield
    finally:
        over.set()
        cutting.join()


@contextmanager
def stranger(server: RedisServer) -> Iterator[None]:
    """Another program listens at the address and speaks another language."""
    server.stop()
    over = threading.Event()

    def run() -> None:
        with socket.create_server(("127.0.0.1", server.port)) as door:
            door.settimeout(0.05)
            while not over.is_set():
                with contextlib.suppress(OSError), door.accept()[0] as guest:
                    guest.sendall(b"SSH-2.0-OpenSSH_9.9\r\n")

    greeting = threading.Thread(target=run)
    greeting.start()
    try:
        yield
    finally:
        over.set()
        greeting.join()
        server.start()


STATES: dict[str, State] = {
    "wrong type": wrong_type,
    "replica": replica,
    "replica without data": replica_without_data,
    "too few replicas": _setting("min-replicas-to-write", "1", "0"),
    "out of memory": _setting("maxmemory", "1", "0"),
    "snapshots fail": snapshots_fail,
    "a command is forbidden": _rights("-brpop", "-lpush"),
    "all commands are forbidden": _rights("-@all"),
    "other keys only": _rights("resetkeys", "~elsewhere:*"),
    "password changed": password_changed,
    "loading": loading,
    "one of a cluster": cluster,
    "busy": busy,
    "dead": dead,
    "frozen": frozen,
    "cut again and again": cut_again_and_again,
    "a stranger": stranger,
}
