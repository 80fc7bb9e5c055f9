"""The programs of `deploy/`, on a real Postgres and on copies of the real files."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest
from tests.repository import ROOT

from loradex.db.session import connect
from loradex.embedded import EmbeddedPostgres
from loradex.embedded.os_user import Account, give, named_account
from loradex.embedded.programs import program
from loradex.errors import DatabaseUnavailableError

DIGEST = "sha256:" + "ab" * 32


def _entrypoint(place: Path, text: str, name: str = "docker-entrypoint.sh") -> Path:
    place.mkdir()
    script = place / name
    script.write_text(f"#!/bin/sh\n{text}\n")
    script.chmod(0o755)
    place.chmod(0o755)
    return place


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory of the test's own that every user may enter, so that no other one is opened to them."""
    with tempfile.TemporaryDirectory(prefix="loradex-deploy-") as made:
        Path(made).chmod(0o711)
        yield Path(made)


@pytest.fixture
def server(place: Path) -> Iterator[EmbeddedPostgres]:
    made = EmbeddedPostgres(place / "home", durable=False)
    yield made
    made.destroy()


@pytest.mark.parametrize("password", ["next-one", "it's-'quoted';--"])
def test_a_password_that_was_changed_is_set(password: str, place: Path, server: EmbeddedPostgres) -> None:
    before = server.start()
    server.stop()
    data = server.data
    assert data is not None
    image = _entrypoint(place / "image", 'echo "entered with $1"')
    # Postgres alone wants a user with a name; the embedded server gave the data to one without.
    owner = data.stat()
    who = named_account() if os.geteuid() == 0 else None
    shutil.copy(ROOT / "deploy" / "postgres.sh", image)
    programs = next(iter(data.parent.glob("programs-*/*/*/bin")), program("postgres").parent)
    with ExitStack() as lent:
        if who is not None:
            lent.callback(give, data, Account(owner.st_uid, owner.st_gid))
            give(data, who)
        done = subprocess.run(
            ["sh", image / "postgres.sh"],
            cwd="/",
            env={
                "PATH": f"{image}:{programs}:/usr/bin:/bin",
                "PGDATA": str(data),
                "POSTGRES_USER": "loradex",
                "POSTGRES_DB": "loradex",
                "POSTGRES_PASSWORD": password,
            },
            user=None if who is None else who.user,
            group=None if who is None else who.group,
            capture_output=True,
            text=True,
            check=False,
        )
    assert (done.stdout, done.returncode) == ("entered with postgres\n", 0), done.stderr
    assert password not in done.stderr
    # It is asked with the old password whether it is up, and says no.
    (data / "pgdata.key").write_text(password)
    after = server.start()
    with connect(psycopg.conninfo.make_conninfo(after, password=password)) as connection:
        assert connection.execute("select current_user").fetchone() == ("loradex",)
    with pytest.raises(DatabaseUnavailableError):
        connect(before)


def test_a_new_server_is_left_to_its_image(tmp_path: Path) -> None:
    image = _entrypoint(tmp_path / "image", 'echo "entered with $1"')
    done = subprocess.run(
        ["sh", ROOT / "deploy" / "postgres.sh"],
        env={"PATH": f"{image}:/usr/bin:/bin", "PGDATA": str(tmp_path / "none"), "POSTGRES_PASSWORD": "x"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "entered with postgres\n"


def test_images_are_pinned_by_digest(tmp_path: Path) -> None:
    (tmp_path / "deploy").mkdir()
    for name in ("docker-compose.yml", "Dockerfile", "deploy/vllm.Dockerfile", "deploy/pin-images.sh"):
        shutil.copy(ROOT / name, tmp_path / name)
    engine = _entrypoint(tmp_path / "engine", f"echo {DIGEST}", "docker")
    command = [tmp_path / "deploy" / "pin-images.sh"]
    environment = {"PATH": f"{engine}:/usr/bin:/bin"}
    for _ in range(2):
        subprocess.run(command, env=environment, capture_output=True, check=True)
    compose = (tmp_path / "docker-compose.yml").read_text()
    assert f"image: pgvector/pgvector:pg18@{DIGEST}\n" in compose
    assert f"image: redis:8@{DIGEST}\n" in compose
    assert (tmp_path / "Dockerfile").read_text().count(f"python:3.11-slim-bookworm@{DIGEST}") == 2
    assert f":v0.32.0@{DIGEST}\n" in (tmp_path / "deploy" / "vllm.Dockerfile").read_text()
    for name in ("docker-compose.yml", "Dockerfile", "deploy/vllm.Dockerfile"):
        assert (tmp_path / name).read_text().replace(f"@{DIGEST}", "") == (ROOT / name).read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "Dockerfile",
        "deploy",
        "docker-compose.yml",
        "engine",
    ]

    _entrypoint(tmp_path / "broken", "echo no such image", "docker")
    failed = subprocess.run(
        command, env={"PATH": f"{tmp_path}/broken:/usr/bin:/bin"}, capture_output=True, text=True, check=False
    )
    assert failed.returncode == 1
    assert (tmp_path / "docker-compose.yml").read_text() == compose
