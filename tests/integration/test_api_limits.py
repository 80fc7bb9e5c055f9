"""Limits of a key at the door of the API: OpenAI's headers, 429 in time, one count for several servers, nobody else."""

import asyncio
import json
import time
from concurrent.futures import ThreadPoolExecutor

import httpx2
import openai
import pytest
from tests.fix_answering import Stack
from tests.fix_api import Served, made_key
from tests.fix_commands import Loradex
from tests.fix_db import with_user

from loradex.db.session import connect
from loradex.errors import KeyRefusedError
from loradex.service.api import allowance
from loradex.service.api.allowance import Allowances
from loradex.service.api.problem import Problem
from loradex.service.client import AsyncClient

QUESTION = [{"role": "user", "content": "Is it late?"}]


def models(served: Served, key: str) -> httpx2.Response:
    return served.http.get(f"{served.url}/v1/models", headers={"authorization": f"Bearer {key}"})


def test_a_key_that_asks_too_often_waits_and_nobody_else(served: Served) -> None:
    _, key = served.key("carol", requests_a_minute=4)
    answers = [models(served, key) for _ in range(5)]
    assert [one.status_code for one in answers] == [200, 200, 200, 200, 429]
    left = [one.headers["x-ratelimit-remaining-requests"] for one in answers]
    assert left == ["3", "2", "1", "0", "0"]
    assert {one.headers["x-ratelimit-limit-requests"] for one in answers} == {"4"}
    assert all(
        0 < int(one.headers["x-ratelimit-reset-requests"].removesuffix("ms")) <= 60_000 for one in answers
    )
    refused = answers[-1]
    assert refused.json()["error"]["code"] == "rate_limit_exceeded"
    assert refused.json()["error"]["type"] == "rate_limit_error"
    assert 1 <= int(refused.headers["retry-after"]) <= 15
    assert 0 < int(refused.headers["retry-after-ms"]) <= 15_000
    with pytest.raises(openai.RateLimitError):
        served.client(key).chat.completions.create(model="loradex", messages=QUESTION)  # type: ignore[arg-type]
    for other in (served.alice, served.key("carol")[1]):
        response = models(served, other)
        assert response.status_code == 200
        assert "x-ratelimit-limit-requests" not in response.headers


def test_many_at_once_get_what_there_is_and_no_more(served: Served) -> None:
    _, key = served.key("carol", requests_a_minute=40)
    started = time.monotonic()
    with ThreadPoolExecutor(16) as threads:
        states = [one.status_code for one in threads.map(lambda _: models(served, key), range(60))]
    # A request is back each 1.5 s.
    assert 40 <= states.count(200) <= 41 + (time.monotonic() - started) / 1.5
    assert states.count(200) + states.count(429) == 60


def test_a_full_part_of_the_queue_is_429(served: Served, answering: Stack) -> None:
    _, key = served.key("dora", max_waiting=1)
    jobs = {"jobs": [{"prompt": "Is it?"}] * 2}
    response = served.http.post(
        f"{served.url}/v1/jobs", json=jobs, headers={"authorization": f"Bearer {key}"}
    )
    assert response.status_code == 429, response.text
    assert response.json()["error"]["code"] == "queue_full"
    assert response.headers["retry-after"] == "5"
    assert "of this key" in response.json()["error"]["message"]


def test_servers_agree_and_hardly_write(answering: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 200 requests a minute two servers grant 200, and ask Postgres for a share 20 times."""
    _, key = made_key(answering.database_url, "erna", requests_a_minute=200)
    login = with_user(answering.database_url, "loradex_client")
    taken: list[int] = []
    refused: list[int] = []
    take = Allowances._take

    async def counted(self: Allowances, known: allowance.Allowance, shown: str) -> None:
        await take(self, known, shown)
        taken.append(known.left)

    monkeypatch.setattr(Allowances, "_take", counted)

    async def ask() -> int:
        async with (
            AsyncClient(login, answering.redis_url) as first,
            AsyncClient(login, answering.redis_url) as second,
        ):
            servers = [Allowances(first), Allowances(second)]
            granted = 0
            for number in range(300):
                try:
                    await servers[number % 2].admitted(key)
                    granted += 1
                except Problem:
                    refused.append(number)
            return granted

    started = time.monotonic()
    granted = asyncio.run(ask())
    back = (time.monotonic() - started) / 0.3
    assert 200 <= granted <= 201 + back
    assert refused
    assert len(taken) <= 22 + 2 * (back + 1)
    assert taken[:2] == [10, 10]


def test_a_key_that_is_none_leaves_nothing_behind(answering: Stack) -> None:
    login = with_user(answering.database_url, "loradex_client")

    async def ask() -> int:
        async with AsyncClient(login, answering.redis_url) as client:
            allowances = Allowances(client)
            refused = await asyncio.gather(
                *(allowances.admitted(f"lx_{number % 3}") for number in range(9)), return_exceptions=True
            )
            assert {type(one) for one in refused} == {KeyRefusedError}
            return len(allowances._keys)

    assert asyncio.run(ask()) == 0


def test_a_key_that_was_revoked_is_refused_at_once(served: Served) -> None:
    number, key = served.key("carol", requests_a_minute=100)
    assert models(served, key).status_code == 200
    with connect(served.database_url) as connection:
        connection.execute("select loradex.revoke_api_key(%s)", (number,))
    assert models(served, key).status_code == 401


def test_keys_are_limited_and_rotated_by_commands(loradex: Loradex) -> None:
    code, first, _ = loradex("key", "create", "alice", "--requests-a-minute", 60, "--waiting", 10)
    assert code == 0
    (row,) = json.loads(loradex("key", "list", "--json")[1])
    assert (row["requests_a_minute"], row["max_waiting"], row["old_until"]) == (60, 10, None)
    assert "60 a minute, 10 waiting" in " ".join(loradex("key", "list")[1].split())
    assert loradex("key", "limit", 1, "--waiting", 5) == (0, "key 1 may have 5 waiting jobs at most\n", "")
    assert loradex("key", "limit", 1)[1] == "key 1 has no limits\n"
    code, second, said = loradex("key", "rotate", 1, "--hours", 2)
    assert code == 0
    assert "the one of before is good until" in said
    assert second.startswith("lx_")
    assert second != first
    (row,) = json.loads(loradex("key", "list", "--json")[1])
    assert row["old_until"] is not None
    assert json.loads(loradex("key", "rotate", 1, "--json")[1])["id"] == 1
    for wrong in (
        ("limit", 9),
        ("rotate", 9),
        ("rotate", 1, "--hours", "-1"),
        ("limit", 1, "--waiting", 0),
        ("rotate", 1, "--hours", "nan"),
    ):
        code, _, said = loradex("key", *wrong)
        assert code == 2, (wrong, said)
