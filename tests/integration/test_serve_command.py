"""`loradex key` and `loradex serve`: who may serve, and the program itself."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
from tests.fix_answering import Stack
from tests.fix_commands import Loradex
from tests.fix_db import with_user
from tests.repository import ROOT

from loradex.db.session import connect
from loradex.stack_file import StackFile

CHAT = "/v1/chat/completions"
QUESTION = {"model": "loradex", "messages": [{"role": "user", "content": "Is it late?"}], "max_tokens": 1}


def test_keys_are_made_shown_once_and_revoked(loradex: Loradex, database_url: str) -> None:
    code, key, said = loradex("key", "create", "alice", "--name", "laptop", "--days", 2)
    assert code == 0
    assert "shown this once" in said
    assert key.startswith("lx_")
    with connect(with_user(database_url, "loradex_client")) as connection, connection.transaction():
        connection.execute("select loradex.authenticate(%s, 'ask')", (key.strip(),))
    code, listed, _ = loradex("key", "list", "--json")
    (row,) = json.loads(listed)
    assert (row["owner"], row["name"], row["scopes"], row["state"]) == ("alice", "laptop", ["ask"], "good")
    assert key.strip() not in listed
    assert "alice" in loradex("key", "list")[1]
    assert loradex("key", "revoke", row["id"]) == (0, f"key {row['id']} is refused from now on\n", "")
    assert "revoked before" in loradex("key", "revoke", row["id"])[1]
    assert loradex("key", "revoke", 999)[0] == 2
    for wrong in (("--days", "-1"), ("--scope", "admin"), ("--days", "1e300"), ("--days", "nan")):
        code, _, said = loradex("key", "create", "alice", *wrong)
        assert code == 2, said
        assert said.count("\n") == 1
    assert json.loads(loradex("key", "create", "bob", "--scope", "read", "--json")[1])["owner"] == "bob"


def test_the_owner_of_the_database_does_not_serve(loradex: Loradex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORADEX_REDIS_URL", "redis://127.0.0.1:9/0")
    code, _, said = loradex("serve", "--port", 0)
    assert code == 2
    assert "loradex db login" in said
    code, _, said = loradex("serve", "--host", "192.0.2.1")
    assert code == 2
    assert "nobody can listen" in said
    for told, named in (
        (("--allow-origin", "app.example.com"), ""),
        ((), "https://a.example app.example.com"),
    ):
        monkeypatch.setenv("LORADEX_API_ALLOW_ORIGINS", named)
        code, _, said = loradex("serve", "--port", 0, *told)
        assert code == 2
        assert "'app.example.com' is no origin" in said


def test_the_program_serves_the_embedded_stack_and_ends(answering: Stack, tmp_path: Path) -> None:
    """It makes its login by itself there, logs a line for each request without what was asked, and ends in time."""
    StackFile(tmp_path).write("postgres", {"url": answering.database_url})
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LORADEX_")}
    environment |= {"LORADEX_HOME": str(tmp_path), "LORADEX_REDIS_URL": answering.redis_url}
    made = [str(Path(sys.executable).with_name("loradex"))]
    key = subprocess.run(
        [*made, "key", "create", "carol"], env=environment, capture_output=True, text=True, check=True
    )
    server = subprocess.Popen(
        [*made, "serve", "--port", "0"],
        env=environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stderr is not None
        address = json.loads(server.stderr.readline())["address"]
        response = httpx2.post(
            f"{address}/chat/completions",
            json=QUESTION,
            headers={"authorization": f"Bearer {key.stdout.strip()}"},
            timeout=60,
        )
        assert response.status_code == 200, response.text
        server.send_signal(signal.SIGTERM)
        _, log = server.communicate(timeout=30)
    finally:
        server.kill()
    assert server.returncode == 0, log
    (asked,) = (line for line in map(json.loads, log.splitlines()) if line["event"] == "request.answered")
    assert (asked["method"], asked["path"], asked["status"]) == ("POST", CHAT, 200)
    assert asked["request"].startswith("req_")
    assert "Is it late" not in log
    assert "lx_" not in log


def test_the_explorer_reads_and_may_do_nothing_else(
    loradex: Loradex, stocked_database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It refuses the owner of the database; on the embedded stack it makes its own login, and prints where to look."""
    monkeypatch.setenv("LORADEX_DATABASE_URL", stocked_database)
    code, _, said = loradex("explore", "--port", 0)
    assert code == 2
    assert "--role reader" in said
    StackFile(tmp_path).write("postgres", {"url": stocked_database})
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LORADEX_")}
    server = subprocess.Popen(
        [str(Path(sys.executable).with_name("loradex")), "explore", "--port", "0"],
        env=environment | {"LORADEX_HOME": str(tmp_path)},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        address = server.stdout.readline().removeprefix("open ").strip()
        page = httpx2.get(address, follow_redirects=True)
        assert page.status_code == 200
        assert "<h1>Answers</h1>" in page.text
        server.send_signal(signal.SIGTERM)
        _, log = server.communicate(timeout=30)
    finally:
        server.kill()
    assert server.returncode == 0, log
    assert "/answers" in {line.get("path") for line in map(json.loads, log.splitlines())}
    assert address.rpartition("=")[2] not in log
