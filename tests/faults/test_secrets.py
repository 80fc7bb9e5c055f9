"""No password is printed, logged or shown by `ps`, in good days and bad; no log has a prompt."""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.repository import ROOT
from tests.stocked import TASKS, stock
from tests.tiny_library import build_tiny_library

from loradex.db.session import connect
from loradex.embedded import EmbeddedPostgres
from loradex.embedded.stack import Stack
from loradex.errors import LoradexError
from loradex.service import cli
from loradex.service.client import Client
from loradex.settings import Settings
from loradex.stack_file import StackFile

WORKER_SECONDS = 400
"""A busy machine takes minutes to import what a worker needs; two of them start one after the other."""

WRONG = "hidden-4711"
ROLE = "hidden-4712"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The home of a whole embedded stack on a tiny model, not started yet."""
    made = tmp_path / "home"
    library = build_tiny_library(tmp_path / "library", TASKS)
    for name, value in (
        ("HOME", made),
        ("BASE_MODEL_PATH", library.base),
        ("ENCODER_PATH", library.encoder),
        ("ADAPTER_ROOTS", library.root),
        ("DEVICE", "cpu"),
        ("THREADS", "1"),
        ("WORKER_PASSWORD", ROLE),
    ):
        monkeypatch.setenv(f"LORADEX_{name}", str(value))
    assert cli.run(["up"]) == 0
    stock(EmbeddedPostgres(made).url, library)
    yield made
    Stack(Settings(home=made)).down()
    EmbeddedPostgres(made).destroy()


def cmdlines() -> str:
    """The command line of every process of this machine that we may read."""
    found = []
    for process in psutil.process_iter():
        try:
            found.append(" ".join(process.cmdline()))
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return "\n".join(found)


def kill(home: Path, part: str) -> None:
    process = psutil.Process(StackFile(home).part(part)["pid"])
    process.send_signal(signal.SIGKILL)
    psutil.wait_procs([process], 10)


@pytest.mark.timeout(3 * WORKER_SECONDS)
def test_no_secret_is_printed_logged_or_on_a_command_line(
    home: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    url = EmbeddedPostgres(home).url
    redis_url = StackFile(home).part("valkey")["url"]
    secrets = [url.split(":")[2].split("@")[0], StackFile(home).part("valkey")["password"], WRONG, ROLE]
    assert all(len(secret) > 10 for secret in secrets)
    said = [cmdlines()]

    for arguments in (
        ["db", "roles"],
        ["ask", "Is it quiet?", "--choices", "yes,no"],
        ["audit", "verify"],
        ["status"],
        ["status", "--json"],
    ):
        assert cli.run(arguments) == 0, arguments
    with connect(url) as connection:
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid()"
        )
    kill(home, "valkey")
    with Client(url, redis_url) as client:
        job = client.enqueue("And now?", max_new_tokens=2)
        said += [str(job.doorbell_error), repr(job), str(client.__dict__["_waker"])]
        job.wait(60)
    kill(home, "postgres")
    for arguments in (["status"], ["status", "--json"], ["ask", "Anybody?"], ["db", "upgrade"]):
        assert cli.run(arguments) == 1, arguments
    said.append(cmdlines())
    assert cli.run(["up"]) == 0

    # A worker that is told wrong passwords, and one that is told nonsense.
    for database in (
        url.replace(secrets[0], WRONG),
        f"postgresql://loradex:{WRONG}/x@127.0.0.1/loradex",
    ):
        ran = subprocess.run(
            [sys.executable, "-P", "-m", "loradex.worker"],
            cwd=ROOT,
            env=os.environ | {"LORADEX_DATABASE_URL": database, "LORADEX_REDIS_URL": redis_url},
            capture_output=True,
            text=True,
            check=False,
            timeout=WORKER_SECONDS,
        )
        assert ran.returncode in {1, 2}
        assert len(ran.stderr.strip().splitlines()[-1]) > 20
        said += [ran.stdout, ran.stderr]
        with pytest.raises(LoradexError) as refused:
            connect(database)
        said.append(str(refused.value))
    logs = sorted((home / "logs").glob("*.log"))
    assert {log.name for log in logs} >= {"postgres.log", "valkey.log", "worker.log"}
    kept = [log.read_text(errors="replace") for log in logs]
    said += kept
    assert not any("Is it quiet?" in text or "And now?" in text for text in kept)
    shown = capfd.readouterr()
    said += [shown.out, shown.err, caplog.text]

    assert [secret for secret in secrets for text in said if secret in text] == []
    data = EmbeddedPostgres(home).data
    assert data is not None
    files = (home / "stack.json", home / "valkey" / "valkey.conf", data / "pgdata.key")
    assert [oct(stat.S_IMODE(file.stat().st_mode)) for file in files] == ["0o600"] * 3
