"""`n`: several answers to one prompt, each as if it had been asked for alone."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from tests.fix_answering import Stack

from loradex.errors import InvalidArgumentError
from loradex.service.client import AsyncClient, Client
from loradex.service.client.request import BIGGEST_BIGINT, Request
from loradex.service.client.samples import samples_of

PROMPT = "Who wrote Hamlet?"
ASKED: dict[str, Any] = {
    "prompt": PROMPT,
    "method": "base",
    "max_new_tokens": 6,
    "sampling_temperature": 1.5,
}
SEEDS = (7, 8, 9)


@pytest.fixture(scope="module")
def client(answering: Stack) -> Iterator[Client]:
    with answering.client() as made:
        yield made


@pytest.fixture(scope="module")
def alone(client: Client) -> list[str]:
    """What is written with each seed."""
    return [client.ask(**ASKED, seed=seed).text for seed in SEEDS]


def test_each_is_what_its_seed_writes_alone(answering: Stack, client: Client, alone: list[str]) -> None:
    assert len(set(alone)) == len(SEEDS)
    assert [one.text for one in client.ask(**ASKED, seed=7, n=3)] == alone
    assert [job.wait().text for job in client.enqueue(**ASKED, seed=7, n=3)] == alone
    streams = client.stream(**ASKED, seed=7, n=3)
    assert ["".join(stream) for stream in reversed(streams)] == alone[::-1]
    assert [stream.answer.text for stream in streams if stream.answer] == alone

    async def ask() -> list[list[str]]:
        async with AsyncClient(answering.database_url, answering.redis_url) as other:
            streams = other.stream(**ASKED, seed=7, n=3)

            async def heard(place: int) -> str:
                return "".join([piece async for piece in streams[place]])

            return [
                [one.text for one in await other.ask(**ASKED, seed=7, n=3)],
                [(await job.wait()).text for job in await other.enqueue(**ASKED, seed=7, n=3)],
                await asyncio.gather(*(heard(place) for place in range(3))),
            ]

    assert asyncio.run(ask()) == [alone] * 3


def test_one_of_them_is_a_list_too_and_without_n_there_is_none(client: Client, alone: list[str]) -> None:
    (one,) = client.ask(**ASKED, seed=7, n=1)
    assert [one.text, client.ask(**ASKED, seed=7, n=None).text] == [alone[0]] * 2  # type: ignore[call-overload]


def test_without_a_seed_they_differ_and_under_a_key_they_are_the_same_jobs(client: Client) -> None:
    first, again = (client.enqueue(**ASKED, n=3, idempotency_key="three") for _ in range(2))
    assert [job.id for job in first] == [job.id for job in again]
    assert [job.created for job in again] == [False] * 3
    assert len({job.wait().text for job in first}) == 3


@pytest.mark.parametrize("n", [0, 17, 2.0, True, "2"])
def test_other_numbers_are_refused_at_the_door(client: Client, n: Any) -> None:
    before = client.jobs(limit=1)
    for method in (client.ask, client.enqueue, client.stream):
        with pytest.raises(InvalidArgumentError, match="n: must be a whole number from 1 to 16"):
            method(**ASKED, n=n)
    assert [job.id for job in client.jobs(limit=1)] == [job.id for job in before]


def test_seeds_go_on_at_nought_after_the_biggest() -> None:
    asked = samples_of(Request(PROMPT, seed=BIGGEST_BIGINT), 2)
    assert [one.seed for one in asked] == [BIGGEST_BIGINT, 0]
