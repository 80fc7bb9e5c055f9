"""An answer computed once more over the API by the worker that has its model: for whoever asked it, and nobody else."""

import json
import signal
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx2
import openai
import pytest
from tests.fix_answering import Stack
from tests.fix_api import Served, made_key
from tests.fix_db import with_user
from tests.serving import serving
from tests.until import until
from tests.worker_process import WorkerProcess, asleep

from loradex.db.session import connect
from loradex.service.api import replays
from loradex.service.api.server import application
from loradex.service.cli import run
from loradex.service.client import AsyncClient

PROMPT = "The clouds turn dark over the kitchen garden. Will it rain?"
WISHES: list[dict[str, Any]] = [
    {"choices": ["yes", "no"]},
    {"choices": ["yes", "it is"], "normalization": "none", "method": "ties"},
    {"max_new_tokens": 12, "logprobs": 2},
    {"max_new_tokens": 12, "sampling_temperature": 1.2, "seed": 5, "method": "linear"},
    {"max_new_tokens": 4, "method": "base"},
]


def asked(served: Served, **wishes: Any) -> str:
    told = served.client().post("/jobs", body={"prompt": PROMPT, **wishes}, cast_to=object)
    job = told["data"][0]["id"]  # type: ignore[index]
    ended: list[Any] = []

    def is_over() -> bool:
        ended[:] = [served.client().get(f"/jobs/{job}", cast_to=object)]
        return bool(ended[0]["answer"])

    until(is_over)
    return str(ended[0]["answer"]["answer_id"])


def replayed(served: Served, answer: str, key: str | None = None) -> Any:
    return served.client(key).post(f"/answers/{answer}/replay", cast_to=object)


def refusal(served: Served, answer: str, key: str | None = None) -> tuple[int, str | None, str]:
    with pytest.raises(openai.APIStatusError) as refused:
        replayed(served, answer, key)
    told = refused.value.body
    assert isinstance(told, dict)
    return refused.value.status_code, refused.value.code, str(told["message"])


def rows(stack: Stack | Served, statement: str) -> list[Any]:
    with connect(stack.database_url) as connection:
        return connection.execute(statement.encode()).fetchall()


def waiting(stack: Stack | Served) -> int:
    return int(rows(stack, "select count(*) from loradex.replays")[0][0])


def forge(stack: Stack, change: str) -> None:
    with connect(stack.database_url) as connection, connection.transaction():
        connection.execute("set local session_replication_role = replica")
        connection.execute(f"update loradex.answers set {change}".encode())


@contextmanager
def open_before(stack: Stack) -> Iterator[Served]:
    """The API in front of a stack of the test's own."""
    login = with_user(stack.database_url, "loradex_client")
    alice, bob = (made_key(stack.database_url, owner)[1] for owner in ("alice", "bob"))
    with (
        serving(lambda: application(AsyncClient(login, stack.redis_url))) as url,
        httpx2.Client(timeout=60) as http,
    ):
        yield Served(url, stack.database_url, alice, bob, http, metrics="")


@pytest.mark.parametrize("wishes", WISHES, ids=json.dumps)
def test_it_says_what_the_command_says(
    served: Served,
    answering: Stack,
    wishes: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    answer = asked(served, **wishes)
    told = replayed(served, answer)
    for name, value in answering.environment().items():
        monkeypatch.setenv(name, value)
    assert run(["replay", answer, "--json"]) == 0
    command = json.loads(capfd.readouterr().out)
    figures = {"score_difference", "logprob_difference"}
    assert told["same"] is True
    assert {name: told[name] for name in command if name not in figures} == {
        name: value for name, value in command.items() if name not in figures
    }
    for name in figures:
        assert told[name] == (None if command[name] is None else pytest.approx(command[name], abs=1e-4))
    assert told["verdict"].startswith(f"same {told['tokens']} tokens")
    explained = served.client().get(f"/answers/{answer}/explain", cast_to=object)
    by = told["replayed_by"]
    assert (by["worker"], by["base_model_revision"], by["dtype"]) == (
        explained["worker"],  # type: ignore[index]
        explained["base_model_revision"],  # type: ignore[index]
        "float32",
    )
    assert waiting(served) == 0


def test_nothing_is_recorded(served: Served) -> None:
    answer = asked(served, max_new_tokens=4)
    facts = "select (select count(*) from loradex.answers), (select count(*) from loradex.jobs)"
    before = rows(served, facts)
    replayed(served, answer)
    assert rows(served, facts) == before


def test_another_tenant_learns_nothing(served: Served) -> None:
    mine, nobodys = asked(served, max_new_tokens=2), "00000000-0000-0000-0000-000000000000"
    said = [refusal(served, answer, served.bob) for answer in (mine, nobodys)]
    assert [one[:2] for one in said] == [(404, "unknown_answer")] * 2
    assert said[0][2].replace(mine, nobodys) == said[1][2]
    assert refusal(served, "7")[:2] == (404, "unknown_answer")


def test_a_key_that_only_reads_has_nothing_computed(served: Served) -> None:
    answer = asked(served, max_new_tokens=2)
    _, reads = served.key("alice", scopes=["read"])
    assert refusal(served, answer, reads)[:2] == (403, "permission_refused")
    assert refusal(served, answer, "lx_nobody")[:2] == (401, "invalid_api_key")


def test_it_is_a_request_of_the_key(served: Served) -> None:
    answer = asked(served, max_new_tokens=2)
    _, key = served.key("alice", requests_a_minute=2)
    replayed(served, answer, key)
    replayed(served, answer, key)
    assert refusal(served, answer, key)[:2] == (429, "rate_limit_exceeded")


def test_a_wait_without_a_worker_has_an_end_and_leaves_nothing(
    served: Served, answering: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = asked(served, max_new_tokens=2)
    monkeypatch.setattr(replays, "SECONDS", 0.1)
    with asleep(answering.workers[0]):
        assert refusal(served, answer)[:2] == (504, "wait_timeout")
        until(lambda: waiting(served) == 0)


def test_what_a_client_that_leaves_waited_for_goes_at_once(served: Served, answering: Stack) -> None:
    answer = asked(served, max_new_tokens=2)
    host, port = served.url.removeprefix("http://").split(":")
    head = f"POST /v1/answers/{answer}/replay HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {served.alice}\r\n"
    with asleep(answering.workers[0]):
        with socket.create_connection((host, int(port))) as leaving:
            leaving.sendall(f"{head}content-length: 0\r\n\r\n".encode())
            until(lambda: waiting(served) == 1)
        until(lambda: waiting(served) == 0)
    assert replayed(served, answer)["same"], "the worker goes on with the next"


def test_what_was_forged_or_lost_is_told(stack: Stack) -> None:
    stack.worker().start()
    with open_before(stack) as served:
        answer = asked(served, choices=["yes", "no"])
        kept = rows(stack, "select scores, token_ids, text from loradex.answers")[0]
        forge(stack, "scores = array[0.5, -9]")
        told = replayed(served, answer)
        assert (told["same"], told["difference"]) == (False, None)
        assert told["score_difference"] > told["score_tolerance"]
        assert "and rounding explains 1e-03" in told["verdict"]
        forge(stack, "scores = array[0.5]")
        told = replayed(served, answer)
        assert (told["same"], told["score_difference"], told["score_tolerance"]) == (False, None, 0.001)
        forge(stack, f"token_ids = array[{kept[1][0] + 1}]")
        told = replayed(served, answer)
        assert told["difference"]["stored"] == kept[1][0] + 1
        assert told["difference"]["replayed"] == kept[1][0]
        assert told["difference"]["margin"] > 0, "it was idle, so that the margin could be told"
        assert told["verdict"].startswith(f"token 1 was {kept[1][0] + 1} and is {kept[1][0]}")

        weights = stack.library.adapters["weather"].directory / "adapter_model.safetensors"
        was = weights.read_bytes()
        try:
            weights.write_bytes(was[:-1] + bytes([was[-1] ^ 1]))
            status, code, message = refusal(served, answer)
            assert (status, code) == (409, "adapter_changed")
            assert "its content hash is" in message
            weights.unlink()
            assert refusal(served, answer)[0] == 409
        finally:
            weights.write_bytes(was)
        assert replayed(served, answer)["recipe_same"]
        moved = weights.parent.rename(weights.parent.with_name("weather-elsewhere"))
        assert refusal(served, answer)[:2] == (409, "adapter_changed")
        registered = "update loradex.adapters set uri = replace(uri, %s, %s) where task = 'weather'"
        with connect(stack.database_url) as connection:
            connection.execute(registered, (weights.parent.name, moved.name))
            assert replayed(served, answer)["recipe_same"], "it is where it is registered now"
            moved.rename(weights.parent)
            connection.execute(registered, (moved.name, weights.parent.name))

        forge(stack, "base_model_revision = 'another'")
        assert refusal(served, answer)[:2] == (409, "replay_refused")
        forge(
            stack,
            "merge_dtype = 'bfloat16', base_model_revision = (select revision from loradex.base_models)",
        )
        status, code, message = refusal(served, answer)
        assert (status, code) == (409, "replay_refused")
        assert "in bfloat16, and the workers at hand compute in float32" in message
        rows(stack, "select loradex.erase_jobs('wish', 'alice', array[(select job_id from loradex.answers)])")
        assert refusal(served, answer) == (
            409,
            "replay_refused",
            "its question was erased, so that it cannot be answered once more",
        )
        assert waiting(stack) == 0


@contextmanager
def claimed_and_no_further(
    stack: Stack, worker: WorkerProcess, ask: Callable[[], Future[Any]]
) -> Iterator[Future[Any]]:
    """Inside, the worker has claimed what was asked for, and cannot read the answer that it is to compute."""
    with asleep(worker):
        asked_for = ask()
        until(lambda: waiting(stack) == 1)
        with connect(stack.database_url) as holder, holder.transaction():
            holder.execute("lock table loradex.answers in access exclusive mode")
            worker.send(signal.SIGCONT)
            until(lambda: rows(stack, "select from loradex.replays where claims = 1"))
            yield asked_for


def test_a_worker_that_dies_of_it_is_replaced(stack: Stack) -> None:
    first = stack.worker().start()
    with open_before(stack) as served, ThreadPoolExecutor(1) as elsewhere:
        answer = asked(served, max_new_tokens=4)
        with claimed_and_no_further(stack, first, lambda: elsewhere.submit(replayed, served, answer)) as told:
            first.kill()
        assert not told.done()
        with connect(stack.database_url) as owner:
            owner.execute("update loradex.replays set claimed_at = claimed_at - interval '31 seconds'")
        second = stack.worker().start()
        assert told.result(60)["same"]
        second.wait_for("answer.replayed")


def test_a_worker_that_is_stopped_leaves_it_to_the_next(stack: Stack) -> None:
    first = stack.worker().start()
    with open_before(stack) as served, ThreadPoolExecutor(1) as elsewhere:
        answer = asked(served, max_new_tokens=4)
        with claimed_and_no_further(stack, first, lambda: elsewhere.submit(replayed, served, answer)) as told:
            first.send(signal.SIGTERM)
            until(lambda: not first.ready_file.exists())
        assert first.stop() == 0
        assert rows(stack, "select claims, worker, claimed_at from loradex.replays") == [(0, None, None)]
        assert not told.done()
        stack.worker().start()
        assert told.result(60)["same"]


def test_a_worker_goes_on_after_a_replay_that_breaks(stack: Stack) -> None:
    worker = stack.worker().start()
    with open_before(stack) as served:
        answer = asked(served, max_new_tokens=4)
        forge(stack, "generation = generation - 'frame'")
        status, code, message = refusal(served, answer)
        assert (status, code) == (500, "internal_error")
        assert "the worker's log says why" in message
        assert asked(served, max_new_tokens=2)
        assert worker.alive
