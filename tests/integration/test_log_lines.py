"""All that a worker and the API say, from their first line to their last, in a stack where things go wrong."""

import json
import os
import subprocess
import sys
from typing import Any

import httpx2
import pytest
from tests.fix_answering import NO_REDIS, Stack
from tests.fix_api import made_key
from tests.fix_db import with_user
from tests.repository import ROOT
from tests.until import until

from loradex.db.session import connect
from loradex.errors import JobFailedError

SECRET = "Does the moon know 4711?"
TRACE = "0af7651916cd43dd8448eb211c80319c"


def lines_of(text: str) -> list[dict[str, Any]]:
    """Each line is an object, and says what happened, how bad it is, who says it, and when."""
    lines = [json.loads(line) for line in text.splitlines()]
    assert lines
    for line in lines:
        assert {"event", "level", "logger", "timestamp"} <= line.keys()
    assert "moon" not in text
    return lines


def test_a_worker_whose_servers_fail(stack: Stack) -> None:
    """A program of its own, since what libraries say when they are imported counts too."""
    worker = stack.worker(REDIS_URL=NO_REDIS, METRICS_PORT="0")
    worker.environment = {"PYTHONWARNINGS": "default", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
    worker.start()
    with stack.client() as client:
        answer = client.ask(SECRET, max_new_tokens=1, traceparent=f"00-{TRACE}-b7ad6b7169203331-01")
        with pytest.raises(JobFailedError) as failed:
            client.ask(f"{SECRET} " * 2000)
        with connect(stack.database_url) as owner:
            cut = owner.execute(
                "select count(pg_terminate_backend(pid)) from pg_stat_activity "
                "where application_name = 'loradex worker' and datname = current_database()"
            ).fetchone()
        assert cut is not None
        assert cut[0] >= 2
        assert client.ask(SECRET, max_new_tokens=1, timeout=60)
    worker.wait_for("wakeup.not_heard", 60)
    assert worker.stop(120) == 0
    lines = lines_of(worker.since(0))
    by_event = {line["event"]: line for line in lines}
    assert lines[-1]["event"] == "worker.ended"
    assert {"worker.loaded", "wakeup.not_heard", "metrics.listening"} <= by_event.keys()
    answered = next(line for line in lines if line.get("answer") == str(answer.answer_id))
    assert (answered["job"], answered["trace"]) == (str(answer.job_id), TRACE)
    assert by_event["job.failed"]["code"] == failed.value.code
    assert "job" in by_event["job.failed"]


def test_a_worker_that_cannot_start_says_why_in_one_line(stack: Stack) -> None:
    for settings, event, reason in (
        ({"BATCH_ROWS": "0"}, "program.ended", "LORADEX_BATCH_ROWS"),
        ({"BASE_MODEL_PATH": "/nowhere"}, "program.crashed", "/nowhere"),
    ):
        worker = stack.worker(**settings)
        worker.start(wait=False)
        assert worker.process is not None
        assert worker.process.wait(120) != 0
        last = lines_of(worker.since(0))[-1]
        assert last["event"] == event
        assert reason in last["reason"]


def test_the_api_from_start_to_end(answering: Stack) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LORADEX_")}
    environment |= answering.environment()
    environment["LORADEX_DATABASE_URL"] = with_user(answering.database_url, "loradex_client")
    _, key = made_key(answering.database_url, "carol")
    question = {"model": "loradex", "prompt": SECRET, "max_tokens": 1}
    command = [
        sys.executable,
        "-P",
        "-W",
        "default",
        "-c",
        "from loradex.service.cli import main; main()",
        "serve",
    ]
    with subprocess.Popen(
        [*command, "--port", "0"],
        env=environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        try:
            assert server.stderr is not None
            first = server.stderr.readline()
            url = json.loads(first)["address"]
            with httpx2.Client(timeout=60, headers={"authorization": f"Bearer {key}"}) as http:
                answer = http.post(f"{url}/completions", json=question, headers={"x-request-id": "mine"})
                assert answer.status_code == 200, answer.text
                assert http.post(f"{url}/completions", json={**question, "model": SECRET}).status_code == 404
                with connect(answering.database_url) as owner:
                    owner.execute(
                        "select pg_terminate_backend(pid) from pg_stat_activity "
                        "where usename = (select session_user) and application_name like 'loradex client%' "
                        "and datname = current_database()"
                    )
                until(lambda: http.post(f"{url}/completions", json=question).status_code == 200)
            server.terminate()
            said, log = server.communicate(timeout=40)
        finally:
            server.kill()
    assert (server.returncode, said) == (0, "")
    lines = lines_of(first + log)
    assert [lines[0]["event"], lines[-1]["event"]] == ["server.listening", "server.ended"]
    mine = next(line for line in lines if line.get("request") == "mine")
    with connect(answering.database_url) as owner:
        row = owner.execute(
            "select job_id from loradex.answers where id = %s", (answer.json()["loradex"]["answer_id"],)
        ).fetchone()
    assert row is not None
    assert mine["jobs"] == [str(row[0])]
    command = [*command, "--host", "192.0.2.1"]
    refused = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    (line,) = lines_of(refused.stderr)
    assert (refused.returncode, line["code"]) == (2, "invalid_argument")
