"""`loradex up`, `status`, `down` and `db`, with every part real; the models are tiny."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.fix_db import RoleUrl
from tests.tiny_library import TinyLibrary, build_tiny_library
from tests.until import until

from loradex.db import migrate
from loradex.db.session import connect
from loradex.embedded import Addresses, EmbeddedPostgres, EmbeddedValkey
from loradex.embedded.api import EmbeddedApi
from loradex.embedded.processes import Identity
from loradex.embedded.stack import Stack
from loradex.errors import LibraryMissingError
from loradex.service import cli
from loradex.settings import Settings
from loradex.stack_file import StackFile

Status = dict[str, dict[str, Any]]
Look = Callable[[], tuple[int, Status]]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> TinyLibrary:
    return build_tiny_library(tmp_path_factory.mktemp("library"), ())


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """Homes of two stacks, one with a worker and one without, which is quicker."""
    made = {name: tmp_path_factory.mktemp("stack") / "home" for name in ("whole", "bare")}
    yield made
    for home in made.values():
        Stack(Settings(home=home)).down()
        EmbeddedPostgres(home).destroy()


@pytest.fixture(params=["whole"])
def home(
    request: pytest.FixtureRequest,
    homes: dict[str, Path],
    library: TinyLibrary,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """Tests share a stack; each begins with `up`, which must heal what the last one broke."""
    made = homes[request.param]
    monkeypatch.setenv("LORADEX_HOME", str(made))
    monkeypatch.setenv("LORADEX_BASE_MODEL_PATH", str(library.base))
    monkeypatch.setenv("LORADEX_ENCODER_PATH", str(library.encoder))
    monkeypatch.setenv("LORADEX_DEVICE", "cpu")
    monkeypatch.setenv("LORADEX_THREADS", "1")
    # The same for all: a worker with another one would be started again.
    monkeypatch.setenv("LORADEX_FRAME", "{prompt} and nothing but the truth:")
    return made


@pytest.fixture
def look(home: Path, capsys: pytest.CaptureFixture[str]) -> Look:
    """Runs `loradex status --json`: its exit code, and what it says about each part."""

    def status() -> tuple[int, Status]:
        capsys.readouterr()
        code = cli.run(["status", "--json"])
        return code, {part["part"]: part for part in json.loads(capsys.readouterr().out)}

    return status


bare = pytest.mark.parametrize("home", ["bare"], indirect=True)


def _kill(home: Path, *parts: str) -> None:
    processes = [psutil.Process(StackFile(home).part(part)["pid"]) for part in parts]
    for process in processes:
        process.send_signal(signal.SIGKILL)
    psutil.wait_procs(processes, 10)


def test_up_makes_everything_healthy_and_says_where_it_is(home: Path, look: Look) -> None:
    assert cli.run(["up"]) == 0

    code, parts = look()
    assert code == 0
    assert list(parts) == ["postgres", "schema", "redis", "queue", "worker", "api"]
    assert all(part["healthy"] and part["cure"] is None for part in parts.values())
    assert parts["postgres"]["address"].startswith("postgresql://loradex@127.0.0.1:")
    assert parts["redis"]["address"].startswith("redis://127.0.0.1:")


def test_no_secret_is_shown(home: Path, look: Look, capsys: pytest.CaptureFixture[str]) -> None:
    cli.run(["up"])
    shown = capsys.readouterr()
    cli.run(["status"])
    shown_later = capsys.readouterr()
    _, parts = look()
    secrets = [
        StackFile(home).part("valkey")["password"],
        EmbeddedPostgres(home).url.split(":")[2].split("@")[0],
    ]

    text = shown.out + shown.err + shown_later.out + str(parts)
    assert [secret for secret in secrets if secret in text] == []
    worker = psutil.Process(StackFile(home).part("worker")["pid"])
    assert [secret for secret in secrets if secret in str(worker.cmdline())] == []


def test_up_again_changes_nothing(home: Path) -> None:
    cli.run(["up"])
    before = StackFile(home).path.read_text()

    assert cli.run(["up"]) == 0
    assert StackFile(home).path.read_text() == before


def test_killed_parts_are_named_with_their_cure_and_healed(home: Path, look: Look) -> None:
    cli.run(["up"])

    for part, name in (("worker", "worker"), ("valkey", "redis"), ("postgres", "postgres")):
        _kill(home, part)
        code, parts = look()
        assert code == 1
        assert not parts[name]["healthy"]
        assert parts[name]["cure"] == "run `loradex up`"
    assert cli.run(["up"]) == 0
    assert look()[0] == 0


def test_a_worker_is_replaced_when_it_would_be_started_otherwise_and_that_is_said(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.run(["up"])
    first = Identity.recorded(StackFile(home).part("worker"))
    assert first is not None
    monkeypatch.setenv("LORADEX_START_SECONDS", "500")
    monkeypatch.setenv("LORADEX_CLIENT_PASSWORD", "between-others")
    capsys.readouterr()

    assert cli.run(["up"]) == 0
    assert "started again" not in capsys.readouterr().err
    assert StackFile(home).part("worker")["pid"] == first.pid

    monkeypatch.setenv("LORADEX_BATCH_ROWS", "13")
    monkeypatch.setattr("loradex.embedded.launch.version", lambda _: "99")
    assert cli.run(["up"]) == 0
    said = capsys.readouterr().err
    assert (
        "the worker was started again, with other values of: LORADEX_BATCH_ROWS, the installed Loradex"
        in said
    )
    second = StackFile(home).part("worker")["pid"]
    assert second != first.pid
    assert not first.alive
    assert "LORADEX_CLIENT_PASSWORD" not in psutil.Process(second).environ()

    assert cli.run(["up"]) == 0
    assert "started again" not in capsys.readouterr().err
    assert StackFile(home).part("worker")["pid"] == second


def test_what_a_worker_was_given_is_kept_as_hashes(home: Path) -> None:
    cli.run(["up"])

    given = StackFile(home).part("worker")["given"]
    assert given.keys() >= {"LORADEX_FRAME", "the address of Postgres", "the Python interpreter"}
    assert all(len(value) == 64 for value in given.values())
    assert "nothing but the truth" not in StackFile(home).path.read_text()


def test_home_and_logs_are_for_their_owner_alone(home: Path) -> None:
    cli.run(["up"])
    own = [path for path in home.rglob("*") if "pgdata" not in path.parts and not path.is_symlink()]

    assert {path.name for path in own} >= {"logs", "worker.log", "stack.json", "stack.lock", "worker.ready"}
    open_to_others = [path for path in own if stat.S_IMODE(path.stat().st_mode) & 0o077]
    assert open_to_others == []
    # Root's Postgres is another user, who passes through.
    assert stat.S_IMODE(home.stat().st_mode) == (0o711 if os.geteuid() == 0 else 0o700)


def test_the_api_answers_with_the_key_that_is_shown_once(
    home: Path, look: Look, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.run(["up"])
    with connect(EmbeddedPostgres(home).url) as connection:
        connection.execute("delete from loradex.api_keys")
    capsys.readouterr()
    assert cli.run(["up"]) == 0
    said = capsys.readouterr().err
    key = said.rpartition("shown this once: ")[2].strip()
    assert key.startswith("lx_")
    address = look()[1]["api"]["address"]
    assert f"the first key of the API at {address}" in said
    request = urllib.request.Request(f"{address}/models", headers={"authorization": f"Bearer {key}"})
    with urllib.request.urlopen(request, timeout=30) as response:
        assert json.load(response)["data"][0]["id"] == "loradex"
    assert cli.run(["up"]) == 0
    assert "shown this once" not in capsys.readouterr().err

    _kill(home, "api")
    code, parts = look()
    assert code == 1
    assert [name for name, part in parts.items() if not part["healthy"]] == ["api"]
    assert cli.run(["up"]) == 0
    assert look()[1]["api"]["healthy"]

    monkeypatch.setenv("LORADEX_API", "no")
    assert cli.run(["up"]) == 0
    assert "api" not in look()[1]
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", 8322))
            taken.listen()
        except OSError:
            pass  # another has it, which is as good
        assert cli.run(["up", "--api"]) == 0
        found = look()[1]["api"]
        assert found["healthy"]
        assert ":8322/" not in found["address"]

    # It reads addresses when it starts, so one that has moved is a reason to start it again.
    api, postgres = EmbeddedApi(home), EmbeddedPostgres(home).url
    before = api.pid
    api.start(Addresses(postgres, EmbeddedValkey(home).url))
    assert api.pid == before
    api.start(Addresses(postgres, "redis://127.0.0.1:1/0"))
    assert api.pid != before


@bare
def test_killed_at_once_they_are_healed(home: Path) -> None:
    cli.run(["up", "--no-worker"])
    _kill(home, "valkey", "postgres")

    assert cli.run(["up", "--no-worker"]) == 0


def test_down_stops_all_and_leaves_the_data(
    home: Path, look: Look, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.run(["up"])
    processes = [Identity.recorded(StackFile(home).part(part)) for part in ("worker", "valkey", "postgres")]
    capsys.readouterr()

    assert cli.run(["down"]) == 0
    assert capsys.readouterr().out == "stopped api, worker, valkey, postgres\n"
    assert [one for one in processes if one is None or one.alive] == []
    assert cli.run(["down"]) == 0
    assert capsys.readouterr().out == "nothing was running\n"

    code, parts = look()
    assert code == 1
    assert {part["cure"] for part in parts.values()} == {"run `loradex up`"}
    data = EmbeddedPostgres(home).data
    assert data is not None
    assert data.exists()


@bare
def test_without_a_worker(home: Path, look: Look, capsys: pytest.CaptureFixture[str]) -> None:
    cli.run(["down"])

    assert cli.run(["up", "--no-worker"]) == 0
    code, parts = look()
    assert code == 1
    assert [name for name, part in parts.items() if not part["healthy"]] == ["worker"]


@bare
def test_a_worker_that_cannot_start_says_why(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.run(["down"])
    monkeypatch.setenv("LORADEX_BASE_MODEL_PATH", str(tmp_path / "nothing"))
    capsys.readouterr()

    assert cli.run(["up"]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("loradex: the worker ended: ")
    assert str(home / "logs" / "worker.log") in said


@bare
def test_the_address_for_psql_opens_the_database(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli.run(["up", "--no-worker"])
    capsys.readouterr()

    assert cli.run(["db", "url"]) == 0
    assert migrate.is_current(capsys.readouterr().out.strip())


@bare
def test_a_schema_that_lags_is_named_and_brought_up_to_date(
    home: Path, look: Look, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.run(["up", "--no-worker"])
    migrate.downgrade(EmbeddedPostgres(home).url, "base")

    _, parts = look()
    assert not parts["schema"]["healthy"]
    assert parts["schema"]["cure"] == "run `loradex db upgrade`"

    assert cli.run(["db", "upgrade"]) == 0
    assert look()[1]["schema"]["healthy"]

    # One of an earlier commit is no such case, and is left as it is.
    note = "comment on table loradex.alembic_version is {}"
    digest = migrate.schema_state(EmbeddedPostgres(home).url).digest
    with connect(EmbeddedPostgres(home).url) as connection:
        connection.execute(note.format("null").encode())
        assert not look()[1]["schema"]["healthy"]
        for command in (["up", "--no-worker"], ["db", "upgrade"]):
            capsys.readouterr()
            assert cli.run(command) == 1
            assert "set LORADEX_HOME to a new directory" in capsys.readouterr().err
        connection.execute(note.format(f"'{digest}'").encode())
    assert look()[1]["schema"]["healthy"]


@bare
def test_two_up_at_once_start_one_stack(home: Path) -> None:
    cli.run(["down"])
    command = [sys.executable, "-c", "from loradex.service.cli import main; main(['up', '--no-worker'])"]
    both = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(2)]

    assert [one.wait(120) for one in both] == [0, 0]
    data = str(EmbeddedPostgres(home).data)
    servers = [one for one in psutil.process_iter(["cmdline"]) if data in (one.info["cmdline"] or [])]
    assert len(servers) == 1


@pytest.fixture
def new_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home without a database, and the default models."""
    made = tmp_path / "new home"
    monkeypatch.setenv("LORADEX_HOME", str(made))
    yield made
    Stack(Settings(home=made)).down()
    EmbeddedPostgres(made).destroy()


def test_the_starter_library_goes_into_a_new_database_unless_it_shall_be_empty(
    new_home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def adapters() -> int:
        with connect(EmbeddedPostgres(new_home).url) as connection:
            return len(connection.execute("select from loradex.adapters").fetchall())

    def up(*options: str) -> str:
        assert cli.run(["up", "--no-worker", *options]) == 0
        return capsys.readouterr().err

    assert up("--empty") == ""
    assert adapters() == 0

    with monkeypatch.context() as without:
        without.setattr("loradex.embedded.starter.starter_library", _not_installed)
        assert "pip install loradex-starter" in up()
    with monkeypatch.context() as other:
        other.setenv("LORADEX_BASE_MODEL", "another-model")
        assert "LORADEX_BASE_MODEL is another-model, which the starter library is not for" in up()
    assert adapters() == 0

    assert up() == "loaded the starter library into the new database: 22 adapters, 10651 examples\n"
    assert adapters() == 22
    assert up() == ""


def _not_installed() -> Path:
    raise LibraryMissingError("not installed")


@pytest.fixture
def real_servers(
    database_url: str, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> pytest.MonkeyPatch:
    monkeypatch.setenv("LORADEX_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LORADEX_DATABASE_URL", database_url)
    monkeypatch.setenv("LORADEX_REDIS_URL", redis_url)
    return monkeypatch


@pytest.mark.usefixtures("real_servers")
def test_real_servers_are_used_and_never_touched(
    database_url: str, valkey: EmbeddedValkey, tmp_path: Path
) -> None:
    assert cli.run(["up", "--no-worker"]) == 0
    assert cli.run(["status"]) == 0
    assert cli.run(["down"]) == 0
    assert valkey.is_healthy()
    assert migrate.is_current(database_url)
    assert not (tmp_path / "home" / "stack.json").exists()


@pytest.mark.usefixtures("real_servers")
def test_status_names_who_holds_a_lock_while_the_queue_cannot_be_read(
    database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def queue() -> dict[str, Any]:
        capsys.readouterr()
        assert cli.run(["status", "--json"]) == 1
        (part,) = [one for one in json.loads(capsys.readouterr().out) if one["part"] == "queue"]
        return dict(part)

    with connect(database_url) as holder, connect(database_url) as waiter, connect(database_url) as looker:
        pid = holder.info.backend_pid
        with holder.transaction():
            holder.execute("lock table loradex.jobs in access exclusive mode")
            alone = queue()
            assert "cannot be counted within 5 s" in alone["note"]
            assert "ask again" in alone["cure"]

            waiting = threading.Thread(target=waiter.execute, args=("select count(*) from loradex.jobs",))
            waiting.start()
            until(
                lambda: looker.execute(
                    "select true from loradex.blocked_sessions() where waiting_seconds > 1"
                ).fetchone()
            )
            named = queue()
        waiting.join()
    assert f"process {pid}" in named["note"]
    assert named["cure"] == "end that session, or let it commit"


def test_a_client_s_role_sees_a_healthy_stack(
    role_url: RoleUrl, real_servers: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real_servers.setenv("LORADEX_DATABASE_URL", role_url("loradex_client"))

    assert cli.run(["status"]) == 0
    assert "this user may not see" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("variable", "url", "word"),
    [
        (
            "LORADEX_DATABASE_URL",
            "postgresql://user:hidden@127.0.0.1:1/none",
            "Postgres at postgresql://user@",
        ),
        ("LORADEX_DATABASE_URL", "nonsense", "Postgres at "),
        ("LORADEX_REDIS_URL", "redis://:hidden@127.0.0.1:1/0", "Redis at redis://127.0.0.1:1/0"),
        ("LORADEX_REDIS_URL", "nonsense", "Redis at "),
    ],
)
def test_a_real_server_that_does_not_answer_is_named_with_its_variable(
    variable: str, url: str, word: str, real_servers: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real_servers.setenv(variable, url)

    assert cli.run(["up", "--no-worker"]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert word in said
    assert said.endswith(f"check {variable}")
    assert "hidden" not in said
    assert cli.run(["status"]) == 1


def test_without_a_stack_the_cure_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LORADEX_HOME", str(tmp_path / "nothing here"))

    assert cli.run(["db", "url"]) == 1
    said = capsys.readouterr().err
    assert "run `loradex up`, or set LORADEX_DATABASE_URL" in said
    assert not (tmp_path / "nothing here").exists()
