"""What stands around the API: keys, other tenants, limits, who leaves, servers that are away, anything at all."""

import asyncio
import json
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr
from tests.fix_answering import Stack
from tests.fix_api import Served
from tests.fix_db import with_user
from tests.integration.test_client import nothing_answered
from tests.pooler import Pooler
from tests.until import until
from tests.worker_process import asleep

from loradex.db.session import connect
from loradex.errors import InvalidArgumentError, KeyRefusedError, UnknownAnswerError
from loradex.service.api.app import Api
from loradex.service.api.jobs import LISTED_AT_ONCE, MOST_LISTED_CHARACTERS
from loradex.service.api.places import MOST, SHARE
from loradex.service.client import AsyncClient
from loradex.settings import Settings

Ask = Callable[..., httpx2.Response]
CHAT = "/v1/chat/completions"
QUESTION = {"model": "loradex", "messages": [{"role": "user", "content": "Is it late?"}], "max_tokens": 1}
PATHS = (CHAT, "/v1/completions", "/v1/decisions", "/v1/jobs")
TWICE = (
    b'{"model": "loradex", "input": "x", "questions": [{"type": "choice", "instructions": "y", '
    b'"choices": [{"value": true}, {"value": "true"}]}]}'
)
NOWHERE = "postgresql://nobody:x@127.0.0.1:9/none"


@pytest.fixture
def ask(served: Served) -> Ask:
    """A request as alice, or with another key; None sends none."""

    def request(
        method: str,
        path: str,
        key: str | None = served.alice,
        headers: dict[str, str] | None = None,
        **options: Any,
    ) -> httpx2.Response:
        shown = {} if key is None else {"authorization": f"Bearer {key}"}
        return served.http.request(method, served.url + path, headers={**shown, **(headers or {})}, **options)

    return request


def error_of(response: httpx2.Response, status: int) -> dict[str, Any]:
    """The error, in the envelope that OpenAI's clients read."""
    assert response.status_code == status, response.text
    assert set(response.json()) == {"error"}
    error: dict[str, Any] = response.json()["error"]
    assert {"message", "type", "param", "code"} <= set(error)
    assert response.headers["x-request-id"]
    return error


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


def test_a_connection_serves_on_after_whatever_was_refused_on_it(served: Served, answering: Stack) -> None:
    """Key and statement travel together, so where the key is refused the statement was skipped, and its preparation."""
    login = with_user(answering.database_url, "loradex_client")
    pid = "select pg_backend_pid() as pid"

    async def walk() -> None:
        async with AsyncClient(login, answering.redis_url, connections=1) as client:
            alice, nobody = client.acting_for(served.alice), client.acting_for("lx_nobody")
            for _ in range(7):
                with pytest.raises(KeyRefusedError):
                    await nobody.rows(pid)
            first = await alice.rows(pid)
            assert (nobody.key_taken, alice.key_taken) == (False, True)
            for _ in range(7):
                with pytest.raises(InvalidArgumentError):
                    await alice.rows("select loradex.check_call_size(%s)", (1 << 60,))
            assert await alice.rows(pid) == first
            sleeping = asyncio.create_task(alice.rows("select pg_sleep(60)"))
            await asyncio.sleep(0)
            sleeping.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sleeping
            assert len(await alice.rows(pid)) == 1

    asyncio.run(walk())


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


def test_jobs_are_handed_in_listed_and_cancelled(answering: Stack, ask: Ask) -> None:
    run = uuid4().hex
    body = {
        "jobs": [{"prompt": f"Job {n}?", "model": "tiny-garden", "metadata": {"run": run}} for n in range(5)]
    }
    with nothing_answered(answering):
        response = ask("POST", "/v1/jobs", json=body, headers={"idempotency-key": run})
        assert response.status_code == 202
        ids = [one["id"] for one in response.json()["data"]]
        again = ask("POST", "/v1/jobs", json=body, headers={"idempotency-key": run}).json()["data"]
        assert [(one["id"], one["created"]) for one in again] == [(one, False) for one in ids]
        assert ask("DELETE", f"/v1/jobs/{ids[4]}").json()["status"] == "cancelled"
    page = ask("GET", f"/v1/jobs?metadata[run]={run}&limit=3").json()
    assert [len(page["data"]), page["has_more"]] == [3, True]
    rest = ask("GET", f"/v1/jobs?metadata[run]={run}&limit=3&after={page['last_id']}").json()
    assert [one["id"] for one in (*page["data"], *rest["data"])] == ids[::-1]
    assert not rest["has_more"]
    cancelled = ask("GET", f"/v1/jobs?state=cancelled&metadata[run]={run}").json()["data"]
    assert [(one["id"], one["error"]["code"]) for one in cancelled] == [(ids[4], "job_cancelled")]
    until(lambda: ask("GET", f"/v1/jobs/{ids[0]}").json()["status"] == "done")
    answer = ask("GET", f"/v1/jobs/{ids[0]}").json()["answer"]
    assert answer["method"] == "own"
    assert ask("GET", f"/v1/answers/{answer['answer_id']}").json()["text"] == answer["text"]
    alone = ask("POST", "/v1/jobs", json={"prompt": "Alone?", "max_new_tokens": 1})
    assert alone.headers["location"] == f"/v1/jobs/{alone.json()['data'][0]['id']}"
    for query in ("limit=0", "limit=501", "state=lost", "colour=red", "after=x"):
        error_of(ask("GET", f"/v1/jobs?{query}"), 400)
    for wrong in ({"jobs": []}, {"jobs": [1]}, {"prompt": "x", "modle": "y"}, [], {"jobs": [{"prompt": 1}]}):
        error_of(ask("POST", "/v1/jobs", json=wrong), 400)
    error_of(ask("POST", "/v1/jobs", json={"prompt": "x", "model": "gpt"}), 404)


def test_a_page_of_long_prompts_ends_early_and_misses_none(
    answering: Stack, served: Served, ask: Ask
) -> None:
    """500 prompts as long as may be would be 50 MB, of each reader, in one server for all."""
    jobs = 120
    _, hers = served.key("paula")
    with nothing_answered(answering):
        body = {"jobs": [{"prompt": f"{n:05} {'x' * 99_994}"} for n in range(jobs)]}
        response = ask("POST", "/v1/jobs", hers, json=body)
        made = [one["id"] for one in response.json()["data"]]
        pages = [ask("GET", "/v1/jobs?limit=500", hers).json()]
        while pages[-1]["has_more"]:
            pages.append(ask("GET", f"/v1/jobs?limit=500&after={pages[-1]['last_id']}", hers).json())
        with connect(served.database_url) as connection:
            connection.execute("select loradex.cancel_jobs(%s::uuid[])", (made,))
    assert [one["id"] for page in pages for one in page["data"]] == made[::-1]
    longest = max(sum(len(one["prompt"]) for one in page["data"]) for page in pages)
    assert longest < MOST_LISTED_CHARACTERS + LISTED_AT_ONCE * 100_000 < jobs * 100_000


@pytest.mark.parametrize("keyed", [False, True])
def test_a_client_that_leaves_cancels_its_job(
    served: Served, answering: Stack, ask: Ask, keyed: bool
) -> None:
    """Unless the job has an idempotency key: then its answer may still be asked for."""
    run = uuid4().hex
    body = json.dumps({**QUESTION, "metadata": {"run": run}, "stream": True}).encode()
    extra = f"idempotency-key: {run}\r\n" if keyed else ""
    head = (
        f"POST {CHAT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {served.alice}\r\n{extra}"
        f"content-length: {len(body)}\r\n\r\n"
    ).encode()

    def state() -> list[str]:
        return [one["status"] for one in ask("GET", f"/v1/jobs?metadata[run]={run}").json()["data"]]

    host, port = served.url.removeprefix("http://").split(":")
    # A job whose answer is just being recorded cannot be cancelled, so the worker stands still meanwhile.
    with asleep(answering.workers[0]):
        with socket.create_connection((host, int(port))) as leaving:
            leaving.sendall(head + body)
            until(state)
        if not keyed:
            until(lambda: state() == ["cancelled"])
    if keyed:
        answer = ask("POST", CHAT, content=body, headers={"idempotency-key": run})
        assert answer.status_code == 200
        assert state() == ["done"]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (CHAT, b"", 400),
        (CHAT, b"{", 400),
        (CHAT, b"[" * 100_000, 400),
        (CHAT, b'{"model": NaN}', 400),
        (CHAT, b"\xff\xfe", 400),
        (CHAT, b"[]", 400),
        (CHAT, b'{"model": "loradex", "messages": "x"}', 400),
        (CHAT, b'{"model": "loradex", "messages": [{"role": "user", "content": "\\u0000"}]}', 400),
        (CHAT, b'{"model": "loradex", "messages": [{"role": "user", "content": "\\ud800"}]}', 400),
        (CHAT, b'{"model": "loradex", "messages": [{"role": "user", "content": ""}]}', 400),
        (CHAT, b" " * ((4 << 20) + 1), 413),
        ("/v1/jobs", b" " * ((32 << 20) + 1), 413),
        ("/v1/completions", b'{"model": "loradex", "prompt": [1, 2]}', 400),
        ("/v1/completions", json.dumps({"model": "loradex", "prompt": ["x"] * 129}).encode(), 400),
        ("/v1/completions", json.dumps({"model": "loradex", "prompt": ["x"] * 100, "n": 2}).encode(), 400),
        (
            CHAT,
            json.dumps({"model": "loradex", "messages": [{"role": "user", "content": "x"}] * 1001}).encode(),
            400,
        ),
        ("/v1/decisions", b'{"model": "loradex", "input": "x", "questions": []}', 400),
        (
            "/v1/decisions",
            b'{"model": "loradex", "input": "x", "questions": [{"type": "choice", "instructions": "y"}]}',
            400,
        ),
        (
            "/v1/decisions",
            TWICE,
            400,
        ),
        ("/v1/nothing", b"{}", 404),
        ("/v1/models", b"{}", 405),
    ],
    ids=str,
)
def test_bodies_that_cannot_be(ask: Ask, path: str, body: bytes, status: int) -> None:
    error_of(ask("POST", path, content=body), status)


def test_a_body_without_a_length_is_bounded_too(ask: Ask) -> None:
    error_of(ask("POST", CHAT, content=(b" " * (1 << 20) for _ in range(5))), 413)


def test_requests_keep_their_names_and_slashes_too_many_lead_somewhere(ask: Ask) -> None:
    response = ask("GET", "/v1//models", headers={"x-request-id": "mine-1"})
    assert response.status_code == 200
    assert response.headers["x-request-id"] == "mine-1"
    for path in ("/v1/models/", "/v1/models//"):
        assert ask("GET", path).json()["object"] == "list"
    assert error_of(ask("POST", f"{CHAT}/", content=b"{"), 400)["code"] == "invalid_json"
    assert ask("GET", "/v1/models/loradex/").json()["id"] == "loradex"
    assert error_of(ask("GET", "/v1/nothing/"), 404)["code"] == "not_found"
    assert ask("GET", "/livez", None, {"x-request-id": "a b"}).headers["x-request-id"].startswith("req_")


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v1/jobs", "GET, HEAD, POST"),
        ("/v1/jobs/no-id", "DELETE, GET, HEAD"),
        ("/v1/models", "GET, HEAD"),
        (CHAT, "POST"),
        ("/playground", "GET, HEAD, POST"),
    ],
)
def test_a_wrong_method_is_told_the_right_ones(ask: Ask, path: str, allowed: str) -> None:
    refused = ask("PUT", path)
    assert error_of(refused, 405)["code"] == "method_not_allowed"
    assert refused.headers["allow"] == allowed


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


def test_a_full_queue_says_when_to_come_again(served: Served, answering: Stack, ask: Ask) -> None:
    limit = "update loradex.settings set value = %s where name = 'max_waiting_jobs' returning old.value::text"
    with connect(served.database_url) as connection:
        (before,) = connection.execute(limit, ("0",)).fetchall()
        try:
            response = ask("POST", CHAT, json=QUESTION)
        finally:
            connection.execute(limit, before)
    assert error_of(response, 429)["code"] == "queue_full"
    assert int(response.headers["retry-after"]) > 0


def test_a_server_whose_database_is_away_says_so_and_never_401() -> None:
    async def walk() -> None:
        async with (
            AsyncClient(NOWHERE, "redis://127.0.0.1:9/0") as behind,
            httpx2.AsyncClient(
                transport=httpx2.ASGITransport(Api(behind).application()), base_url="http://x"
            ) as client,
        ):
            assert (await client.get("/livez")).json() == {"status": "live"}
            ready = await client.get("/readyz")
            assert ready.status_code == 503
            assert ready.json()["reasons"]
            key = {"authorization": f"Bearer lx_{'x' * 43}"}
            response = await client.post(CHAT, json=QUESTION, headers=key)
            assert error_of(response, 503)["code"] == "database_unavailable"
            assert int(response.headers["retry-after"]) > 0

    asyncio.run(walk())


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


texts = st.text(max_size=20)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
NAMES = (
    *(
        "model",
        "messages",
        "prompt",
        "input",
        "questions",
        "jobs",
        "loradex",
        "metadata",
        "n",
        "seed",
        "stream",
    ),
    *("stream_options", "temperature", "top_p", "max_tokens", "tools", "structured_outputs", "choices", "k"),
)
turns = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "system", "x"]), "content": texts | anything}),
    max_size=3,
)
bodies = (
    anything
    | st.dictionaries(st.sampled_from(NAMES), anything, max_size=5)
    | st.fixed_dictionaries(
        {"model": st.sampled_from(["loradex", "tiny-garden", "x"]), "max_tokens": st.just(1)},
        optional={
            "messages": turns,
            "prompt": texts | st.lists(texts, max_size=2),
            "input": texts | turns,
            "n": st.integers(-1, 2),
            "temperature": st.floats(-1, 3),
            "questions": st.lists(
                st.fixed_dictionaries(
                    {"type": st.sampled_from(["predicate", "choice"]), "instructions": texts},
                    optional={"choices": st.lists(st.fixed_dictionaries({"value": texts}), max_size=3)},
                ),
                max_size=2,
            ),
            "loradex": st.dictionaries(
                st.sampled_from(["k", "method", "timeout", "choices"]), anything, max_size=2
            ),
            "metadata": anything,
        },
    )
)


def test_anything_is_answered_or_refused_in_one_envelope(ask: Ask) -> None:
    @settings(max_examples=40 if settings.default.max_examples <= 100 else settings.default.max_examples)
    @given(path=st.sampled_from(PATHS), body=bodies)
    def knock(path: str, body: object) -> None:
        content = json.dumps(body).encode()
        response = ask("POST", path, content=content)
        assert response.status_code < 500, (path, body, response.text)
        if response.status_code >= 400:
            error_of(response, response.status_code)
        elif path == "/v1/jobs":
            for one in response.json()["data"]:
                ask("DELETE", f"/v1/jobs/{one['id']}")

    knock()


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
