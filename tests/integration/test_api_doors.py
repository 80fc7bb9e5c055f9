"""Who may ask: keys, other tenants, and places."""

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from uuid import uuid4

import pytest
from pydantic import SecretStr
from tests.asked import CHAT, QUESTION, Ask, error_of
from tests.fix_answering import Stack
from tests.fix_api import Served
from tests.fix_db import with_user
from tests.pooler import Pooler
from tests.until import until
from tests.worker_process import asleep

from loradex.db.session import connect
from loradex.errors import UnknownAnswerError
from loradex.service.api.places import MOST, SHARE
from loradex.service.client import AsyncClient
from loradex.settings import Settings


def test_no_wrong_revoked_and_expired_keys_get_one_answer(served: Served, ask: Ask) -> None:
    number, revoked = served.key("alice")
    _, expired = served.key("alice", expires_at="2099-01-01")
    assert ask("GET", "/v1/models", revoked).status_code == 200
    with connect(served.database_url) as connection:
        connection.execute("select loradex.revoke_api_key(%s)", (number,))
        connection.execute("update loradex.api_keys set expires_at = now() where expires_at > '2098-01-01'")
    wrong = f"lx_{'x' * 43}"
    told = set()
    for path, method in ((CHAT, "POST"), ("/v1/jobs", "GET"), (f"/v1/answers/{uuid4()}", "GET")):
        for key in (None, "lx_short", "é", wrong, revoked, expired):
            shown = None if key == "é" else key
            raw = {"authorization": "Bearer é".encode()} if key == "é" else None
            response = ask(method, path, shown, raw)
            error_of(response, 401)
            told.add(response.text)
    assert len(told) == 1
    for header in (f"Basic {served.alice}", served.alice, f"Bearer {served.alice}x"):
        error_of(ask("GET", "/v1/models", None, {"authorization": header}), 401)


def test_what_is_another_tenants_is_as_if_it_were_not(served: Served, ask: Ask) -> None:
    job = ask("POST", "/v1/jobs", json={"prompt": "Mine?", "choices": ["yes", "no"]}).json()["data"][0]["id"]
    until(lambda: ask("GET", f"/v1/jobs/{job}").json()["status"] == "done")
    answer = ask("GET", f"/v1/jobs/{job}").json()["answer"]["answer_id"]
    for method, path, own in (
        ("GET", "/v1/jobs/{}", job),
        ("DELETE", "/v1/jobs/{}", job),
        ("GET", "/v1/answers/{}", answer),
        ("GET", "/v1/answers/{}/explain", answer),
    ):
        nobodys = str(uuid4())
        theirs, unknown = (ask(method, path.format(one), served.bob) for one in (own, nobodys))
        assert error_of(theirs, 404)["code"] in {"unknown_job", "unknown_answer"}
        assert theirs.text.replace(own, "ID") == unknown.text.replace(nobodys, "ID")
        assert ask(method, path.format(own)).status_code == 200
    assert job not in ask("GET", "/v1/jobs", served.bob).text
    assert error_of(ask("GET", f"/v1/jobs?after={job}", served.bob), 404)
    assert error_of(ask("GET", "/v1/jobs/no-id"), 404)["code"] == "unknown_job"


def test_a_key_that_may_read_asks_nothing(served: Served, ask: Ask) -> None:
    _, reading = served.key("alice", scopes=["read"])
    assert ask("GET", "/v1/jobs", reading).status_code == 200
    for path, body in ((CHAT, QUESTION), ("/v1/jobs", {"prompt": "x"})):
        error = error_of(ask("POST", path, reading, json=body), 403)
        assert (error["type"], error["code"]) == ("permission_error", "permission_refused")
    job = ask("POST", "/v1/jobs", json={"prompt": "x", "max_new_tokens": 1}).json()["data"][0]["id"]
    assert error_of(ask("DELETE", f"/v1/jobs/{job}", reading), 403)


@pytest.mark.parametrize(
    ("model", "retire", "restore", "status"),
    [
        (
            "tiny-kitchen",
            "update loradex.adapters set (state, share, retired_at) = ('retired', 0, now()) where name = %s",
            "update loradex.adapters set (state, share, retired_at) = ('active', 1, null) where name = %s",
            404,
        ),
        (
            "smollm2-135m-instruct",
            "update loradex.base_models set retired_at = now() where name = %s",
            "update loradex.base_models set retired_at = null where name = %s",
            400,
        ),
    ],
    ids=["adapter", "base model"],
)
def test_what_answered_a_moment_ago_is_judged_anew(
    served: Served, ask: Ask, model: str, retire: str, restore: str, status: int
) -> None:
    body = {"model": model, "prompt": "Is it late?", "max_tokens": 1}
    number, revoked = served.key("alice")
    for key in (served.alice, revoked):
        assert ask("POST", "/v1/completions", key, json=body).status_code == 200
    with connect(served.database_url) as connection:
        connection.execute("select loradex.revoke_api_key(%s)", (number,))
        error_of(ask("POST", "/v1/completions", revoked, json=body), 401)
        try:
            connection.execute(retire.encode(), (model,))
            error_of(ask("POST", "/v1/completions", json=body), status)
        finally:
            connection.execute(restore.encode(), (model,))


def test_one_key_does_not_fill_a_server(served: Served, ask: Ask) -> None:
    """Whoever is sending a body has a place; three quarters are what one key gets, on every door of the server."""
    (host, port), most = served.url.removeprefix("http://").split(":"), int(MOST * SHARE)
    head = f"POST {CHAT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {served.alice}\r\ncontent-length: 9\r\n\r\n"
    with ExitStack() as open_requests:
        for _ in range(most):
            connection = open_requests.enter_context(socket.create_connection((host, int(port))))
            connection.sendall(head.encode())
        until(lambda: f"loradex_api_requests_in_progress {most}.0" in served.http.get(served.metrics).text)
        for path in ("/v1/models", "/answers.json"):
            refused = ask("GET", path)
            assert error_of(refused, 429)["code"] == "too_many_concurrent_requests"
            assert int(refused.headers["retry-after"]) > 0
        assert ask("GET", "/v1/models", served.bob).status_code == 200
        error_of(ask("GET", "/v1/models", f"lx_{'x' * 43}"), 401)
    until(lambda: ask("GET", "/v1/models").status_code == 200)


def test_a_pooler_hands_nobody_the_tenant_of_another(
    served: Served, answering: Stack, pooler: Pooler
) -> None:
    """Transactions of all tenants and of the login itself share its sessions; each has rows of its own."""
    login = with_user(answering.database_url, "loradex_client")
    run = {"run": uuid4().hex}

    async def walk() -> None:
        told = Settings(listen_url=SecretStr(login))
        async with AsyncClient(pooler.through(login), answering.redis_url, settings=told) as client:
            both = [client.acting_for(key) for key in (served.alice, served.bob)]
            answers = await asyncio.gather(
                *(one.ask("Is it late?", max_new_tokens=1, metadata=run) for one in both * 5)
            )
            assert len({one.answer_id for one in answers}) == 10
            listed = await asyncio.gather(*(one.jobs(metadata=run) for one in [*both, client] * 3))
            assert [len(page) for page in listed] == [5, 5, 0] * 3
            assert {job.id for job in listed[0]}.isdisjoint(job.id for job in listed[1])
            with pytest.raises(UnknownAnswerError):
                await both[1].explain(answers[0].answer_id)

    asyncio.run(walk())


def test_a_key_revoked_while_it_waits_is_nothing_to_others(
    served: Served, answering: Stack, ask: Ask
) -> None:
    number, leaving = served.key("alice")
    run = uuid4().hex
    body = {**QUESTION, "metadata": {"run": run}}

    def waiting(key: str) -> int:
        return len(ask("GET", f"/v1/jobs?metadata[run]={run}", key).json()["data"])

    with ThreadPoolExecutor(2) as threads:
        with asleep(answering.workers[0]):
            hers, his = (threads.submit(ask, "POST", CHAT, key, json=body) for key in (leaving, served.bob))
            until(lambda: waiting(served.alice) + waiting(served.bob) == 2)
            with connect(served.database_url) as connection:
                connection.execute("select loradex.revoke_api_key(%s)", (number,))
        error_of(hers.result(), 401)
        assert his.result().status_code == 200
