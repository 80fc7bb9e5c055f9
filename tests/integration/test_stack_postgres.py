"""The embedded Postgres: it starts, outlives its starter, survives being killed, and keeps its secrets."""

import os
import pwd
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import psutil
import psycopg
import pytest

from loradex.embedded import EmbeddedPostgres, cluster, os_user
from loradex.embedded.ports import LOOPBACK, free_port
from loradex.embedded.processes import Identity
from loradex.errors import StackError
from loradex.stack_file import StackFile


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stack") / "home"


@pytest.fixture(scope="module")
def one(home: Path) -> Iterator[EmbeddedPostgres]:
    made = EmbeddedPostgres(home, durable=False)
    yield made
    made.destroy()


@pytest.fixture
def server(one: EmbeddedPostgres) -> EmbeddedPostgres:
    """One server for all tests here: whatever a test does to it, the next start must heal."""
    one.start()
    return one


@pytest.fixture
def another(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    made = EmbeddedPostgres(tmp_path / "home", durable=False)
    yield made
    made.destroy()


def _ask(server: EmbeddedPostgres, question: str) -> object:
    with psycopg.connect(server.url) as connection:
        row = connection.execute(question.encode()).fetchone()
    assert row is not None
    return row[0]


def _postmaster(home: Path) -> psutil.Process:
    return psutil.Process(StackFile(home).part("postgres")["pid"])


def _keep(server: EmbeddedPostgres, word: str) -> None:
    with psycopg.connect(server.url) as connection:
        connection.execute("drop table if exists kept")
        connection.execute("create table kept (word text)")
        connection.execute("insert into kept values (%s)", (word,))


def test_it_is_the_newest_postgres_with_pgvector(server: EmbeddedPostgres) -> None:
    assert str(_ask(server, "show server_version")).startswith("18.")
    assert (
        _ask(server, "select default_version from pg_available_extensions where name = 'vector'") == "0.8.5"
    )
    assert _ask(server, "select current_database()") == "loradex"


def test_starting_twice_starts_one(server: EmbeddedPostgres, home: Path) -> None:
    first = server.url
    before = _postmaster(home).pid

    assert server.start() == first
    assert _postmaster(home).pid == before


def test_it_outlives_the_program_that_started_it(server: EmbeddedPostgres, home: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from loradex.embedded import EmbeddedPostgres; "
        "EmbeddedPostgres(Path(sys.argv[1]), durable=False).start()"
    )
    server.stop()
    subprocess.run([sys.executable, "-c", program, home], check=True)

    assert server.is_healthy()


def test_stopped_and_started_it_has_its_data_and_its_address(server: EmbeddedPostgres) -> None:
    url = server.url
    _keep(server, "still here")

    assert server.stop()
    assert not server.is_healthy()
    assert not server.stop()
    assert server.start() == url
    assert _ask(server, "select word from kept") == "still here"


def test_killed_it_comes_back_with_what_was_committed(server: EmbeddedPostgres, home: Path) -> None:
    _keep(server, "committed")
    postmaster = _postmaster(home)
    family = [postmaster, *postmaster.children(recursive=True)]
    for process in family:
        process.kill()
    psutil.wait_procs(family, 10)

    assert not server.is_healthy()
    server.start()
    assert _ask(server, "select word from kept") == "committed"


def test_killed_alone_it_leaves_no_child_in_the_way(server: EmbeddedPostgres, home: Path) -> None:
    with closing(psycopg.connect(server.url)) as idle:
        idle.execute("select 1")
        _postmaster(home).kill()
        server.start()

    assert server.is_healthy()


def test_a_lock_file_that_names_a_stranger_is_not_believed(server: EmbeddedPostgres) -> None:
    server.stop()
    assert server.data is not None
    lock = server.data / "postmaster.pid"
    lock.write_text(f"{os.getpid()}\n{server.data}\n1\n1\n\n127.0.0.1\n0 0\nready   \n")

    server.start()
    assert server.is_healthy()


def test_a_port_that_was_taken_meanwhile_is_given_up(server: EmbeddedPostgres) -> None:
    server.stop()
    taken = psycopg.conninfo.conninfo_to_dict(server.url)["port"]
    program = (
        f"import socket, time; s = socket.create_server(('{LOOPBACK}', {taken})); print(1); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-u", "-c", program], stdout=subprocess.PIPE) as squatter:
        assert squatter.stdout is not None
        squatter.stdout.readline()

        server.start()
        squatter.kill()

    assert psycopg.conninfo.conninfo_to_dict(server.url)["port"] != taken
    assert server.is_healthy()


def test_an_interrupted_creation_is_done_again(another: EmbeddedPostgres, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o711)
    (home / "pgdata.new").mkdir()
    (home / "pgdata.new" / "PG_VERSION").write_text("18\n")

    another.start()
    assert another.is_healthy()


def test_data_of_another_version_are_left_alone(server: EmbeddedPostgres) -> None:
    server.stop()
    assert server.data is not None
    version = server.data / "PG_VERSION"
    version.write_text("17\n")

    with pytest.raises(StackError, match="was made by Postgres 17"):
        server.start()
    version.write_text("18\n")


def test_two_stacks_do_not_meet(server: EmbeddedPostgres, another: EmbeddedPostgres) -> None:
    assert server.url != another.start()
    _keep(server, "mine")
    assert _ask(another, "select count(*) from pg_tables where tablename = 'kept'") == 0
    another.stop()
    assert server.is_healthy()


def test_it_never_runs_as_root_and_nobody_else_may_look(server: EmbeddedPostgres, home: Path) -> None:
    assert server.data is not None

    assert _postmaster(home).uids().effective != 0
    assert stat.S_IMODE(server.data.stat().st_mode) == 0o700
    assert stat.S_IMODE((home / "stack.json").stat().st_mode) == 0o600


def test_the_password_is_asked_for_and_not_shown(server: EmbeddedPostgres, home: Path) -> None:
    parts = psycopg.conninfo.conninfo_to_dict(server.url)
    password = str(parts["password"])

    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(psycopg.conninfo.make_conninfo("", **parts | {"password": "guessed"}))
    postmaster = _postmaster(home)
    for process in (postmaster, *postmaster.children()):
        with suppress(psutil.NoSuchProcess):  # some children live for moments
            assert not any(password in word for word in process.cmdline())
    assert password not in server.log.read_text()
    assert password not in str(postmaster.environ())


def test_it_listens_on_loopback_only(server: EmbeddedPostgres, home: Path) -> None:
    sockets = _postmaster(home).net_connections()

    assert {one.laddr.ip for one in sockets if one.status == psutil.CONN_LISTEN} == {LOOPBACK}


def test_below_a_directory_that_only_its_owner_may_enter_and_destroyed_without_a_trace(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    server = EmbeddedPostgres(closed / "home", durable=False)
    request.addfinalizer(server.destroy)
    server.start()
    data = server.data
    assert data is not None
    _keep(server, "found")
    server.stop()
    (closed / "home" / "stack.json").unlink()
    server.start()
    assert server.data == data
    assert _ask(server, "select word from kept") == "found"

    server.destroy()

    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    assert not data.exists()
    assert not (closed / "home" / "pgdata").is_symlink()
    assert not list(data.parent.glob("pgdata*"))
    with pytest.raises(StackError, match="run `loradex up`"):
        _ = server.url


def test_a_start_that_fails_says_why(server: EmbeddedPostgres) -> None:
    server.stop()
    assert server.data is not None
    control = server.data / "global" / "pg_control"
    aside = control.with_name("aside")
    control.rename(aside)

    with pytest.raises(StackError, match=r"Postgres does not start: .*pg_control"):
        server.start()
    aside.rename(control)


@pytest.mark.parametrize(
    "text",
    [
        *("{", "", "[]", '"postgres"', "null", '{"postgres": 3}', '{"postgres": ["url"]}', "[" * 100_000),
        *('{"postgres": {"url": 5}}', '{"postgres": {"pid": "1", "born": ""}}', '{"worker": {"given": []}}'),
        *('{"postgres": {"port": 1.5}}', '{"postgres": {"pid": true, "born": ""}}'),
    ],
)
def test_a_damaged_record_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "stack.json").write_text(text)

    with pytest.raises(StackError, match=r"stack\.json is damaged"):
        EmbeddedPostgres(tmp_path).start()


def test_without_its_record_it_finds_data_and_password_again(server: EmbeddedPostgres, home: Path) -> None:
    server.start()
    _keep(server, "found")
    server.stop()
    record = StackFile(home)
    part = record.part("postgres")
    assert server.data is not None
    record.write("postgres", {"data": part["data"]})

    server.start()
    assert _ask(server, "select word from kept") == "found"


def test_programs_that_their_user_cannot_reach_are_copied(
    another: EmbeddedPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a clone below /root needs: its virtual environment is as closed as its data."""
    closed = tmp_path / "closed"
    wheel = cluster.programs(cluster.Home(tmp_path / "pgdata", None)).parents[1]
    for part in (wheel.name, f"{wheel.name}.libs"):
        shutil.copytree(wheel.with_name(part), closed / part, ignore=shutil.ignore_patterns("pginstall"))
    closed.chmod(0o700)
    monkeypatch.syspath_prepend(closed)
    another.start()
    data = another.data
    assert data is not None
    running = Path(psutil.Process(StackFile(tmp_path / "home").part("postgres")["pid"]).exe())

    assert running.is_relative_to(data.parent if os.geteuid() == 0 else closed)
    another.destroy()
    assert not list(data.parent.glob("programs-*"))


def test_a_free_port_can_be_listened_on_and_a_taken_one_is_not_given() -> None:
    with socket.create_server((LOOPBACK, 0)) as server:
        taken = server.getsockname()[1]
        other = free_port(taken)
        assert other != taken
        with socket.create_server((LOOPBACK, other)):
            pass


def test_a_borrowed_user_id_is_nobodys_and_stays_the_same() -> None:
    one = os_user.unused_account(Path("/a/home"))

    assert one == os_user.unused_account(Path("/a/home"))
    assert one.user not in {entry.pw_uid for entry in pwd.getpwall()}
    assert one.user >= os_user.FIRST_ID
    assert os_user.named_account().user in {entry.pw_uid for entry in pwd.getpwall()} - {0}


def test_a_process_is_known_by_a_clock_that_nobody_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    """What psutil calls the time of creation moves with the clock on the wall."""
    own = Identity.of(os.getpid())
    monkeypatch.setattr(psutil.Process, "create_time", lambda _: 86_400.0)

    assert own.alive
    assert not Identity(os.getpid(), f"{own.born}0").alive


def test_a_process_that_has_ended_is_dead_collected_or_not() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        identity = Identity.of(process.pid)
        assert identity.alive
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert not identity.alive
    assert not identity.alive
