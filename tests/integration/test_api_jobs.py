"""Jobs over HTTP: handed in, listed, left by their client, and refused by a full queue or one that is away."""

import asyncio
import json
import socket
from uuid import uuid4

import httpx2
import pytest
from tests.asked import CHAT, QUESTION, Ask, error_of
from tests.fix_answering import Stack
from tests.fix_api import Served
from tests.integration.test_client import nothing_answered
from tests.until import until
from tests.worker_process import asleep

from loradex.db.session import connect
from loradex.service.api.app import Api
from loradex.service.api.jobs import LISTED_AT_ONCE, MOST_LISTED_CHARACTERS
from loradex.service.client import AsyncClient

NOWHERE = "postgresql://nobody:x@127.0.0.1:9/none"


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
