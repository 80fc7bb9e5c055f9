"""The embedded Valkey: it starts, outlives its starter, survives being killed, and asks for its password."""

import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import redis

from loradex.embedded import EmbeddedValkey
from loradex.embedded.ports import LOOPBACK
from loradex.stack_file import StackFile


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def server(home: Path) -> Iterator[EmbeddedValkey]:
    made = EmbeddedValkey(home)
    yield made
    made.destroy()


def _process(home: Path) -> psutil.Process:
    return psutil.Process(StackFile(home).part("valkey")["pid"])


def test_it_refuses_bells_instead_of_forgetting_them(server: EmbeddedValkey) -> None:
    with redis.Redis.from_url(server.start(), decode_responses=True) as client:
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "volatile-ttl"}
        assert client.config_get("save") == {"save": ""}
        assert client.config_get("appendonly") == {"appendonly": "no"}


def test_starting_twice_starts_one(server: EmbeddedValkey, home: Path) -> None:
    first = server.start()
    before = _process(home).pid

    assert server.start() == first
    assert _process(home).pid == before


def test_it_outlives_the_program_that_started_it(server: EmbeddedValkey, home: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from loradex.embedded import EmbeddedValkey; "
        "EmbeddedValkey(Path(sys.argv[1])).start()"
    )
    subprocess.run([sys.executable, "-c", program, home], check=True)

    assert server.is_healthy()


def test_killed_it_comes_back_at_the_same_address(server: EmbeddedValkey, home: Path) -> None:
    url = server.start()
    process = _process(home)
    process.kill()
    process.wait(10)

    assert not server.is_healthy()
    assert server.start() == url
    assert server.is_healthy()


def test_stopped_that_hangs_is_replaced(server: EmbeddedValkey, home: Path) -> None:
    server.start()
    process = _process(home)
    process.suspend()

    assert not server.is_healthy()
    server.start()
    assert server.is_healthy()
    process.wait(10)  # for whoever collects it
    assert not process.is_running()


def test_stop_says_whether_it_ran(server: EmbeddedValkey) -> None:
    server.start()

    assert server.stop()
    assert not server.stop()


def test_the_password_is_asked_for_and_not_shown(server: EmbeddedValkey, home: Path) -> None:
    url = server.start()
    password = url.partition(":@")[0].split("@")[0].removeprefix("redis://:")
    process = _process(home)

    stranger = redis.Redis(host=LOOPBACK, port=StackFile(home).part("valkey")["port"])
    with stranger as client, pytest.raises(redis.AuthenticationError):
        client.ping()
    assert not any(password in word for word in process.cmdline())
    assert password not in server.log.read_text()
    assert stat.S_IMODE((home / "valkey" / "valkey.conf").stat().st_mode) == 0o600
    assert stat.S_IMODE((home / "stack.json").stat().st_mode) == 0o600


def test_it_listens_on_loopback_only(server: EmbeddedValkey, home: Path) -> None:
    server.start()
    sockets = _process(home).net_connections()

    assert {one.laddr.ip for one in sockets if one.status == psutil.CONN_LISTEN} == {LOOPBACK}


def test_two_stacks_do_not_meet(server: EmbeddedValkey, tmp_path: Path) -> None:
    other = EmbeddedValkey(tmp_path / "other home")
    try:
        assert server.start() != other.start()
        other.stop()
        assert server.is_healthy()
    finally:
        other.destroy()
