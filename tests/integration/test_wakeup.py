"""What lies in Redis may be lost, doubled or forged: no job is lost, none doubled, no worker falls."""

import base64
import json

import pytest
import redis
from celery import Celery
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.fix_answering import Stack
from tests.fix_valkey import NewRedisUrl
from tests.wakeup_messages import body, message

from loradex.db.session import connect
from loradex.service.client import Client, Job
from loradex.service.client.wakeup import MOST_MESSAGES
from loradex.wakeup import QUEUE, TASK


def answers(stack: Stack, job: Job) -> int:
    """How often a job was answered."""
    with connect(stack.database_url) as connection:
        row = connection.execute(
            "select count(*) from loradex.answers where job_id = %s", (job.id,)
        ).fetchone()
    assert row is not None
    return int(str(row[0]))


def test_a_message_delivered_ten_times_is_answered_once(answering: Stack, client: Client) -> None:
    job = client.enqueue("Does the clock tick?", max_new_tokens=2)
    with Celery("ten", broker=answering.redis_url, set_as_current=False) as app:
        for _ in range(10):
            app.send_task(TASK, args=[str(job.id)], task_id=str(job.id), queue=QUEUE)

    job.wait()
    later = client.enqueue("Is it the hour?", max_new_tokens=2)
    later.wait()

    assert answers(answering, job) == answers(answering, later) == 1


def test_jobs_whose_messages_are_lost_are_answered(
    answering: Stack, client: Client, wakeups: redis.Redis
) -> None:
    jobs = client.enqueue_many({"prompt": f"Lost {number}?", "max_new_tokens": 2} for number in range(20))
    wakeups.flushall()

    assert {job.wait().job_id for job in jobs} == {job.id for job in jobs}


def test_redis_is_told_ids_and_nothing_else(
    answering: Stack, client: Client, new_redis_url: NewRedisUrl
) -> None:
    elsewhere = new_redis_url()
    with redis.Redis.from_url(elsewhere) as nobody, Client(answering.database_url, elsewhere) as quiet:
        job = quiet.enqueue("Where is the treasure?", choices=["island", "cellar"])
        (raw,) = nobody.lrange(QUEUE, 0, -1)
    arguments = json.loads(base64.b64decode(json.loads(raw)["body"]))

    assert arguments[:2] == [[str(job.id)], {}]
    assert not any(word in raw.decode() for word in ("treasure", "island", "cellar"))
    client.job(job.id).wait()


def test_many_jobs_ring_a_few_times_only(
    client: Client, answering: Stack, new_redis_url: NewRedisUrl
) -> None:
    elsewhere = new_redis_url()
    with redis.Redis.from_url(elsewhere) as nobody:
        with Client(answering.database_url, elsewhere) as quiet:
            jobs = quiet.enqueue_many(
                {"prompt": f"Ring {number}?", "max_new_tokens": 1} for number in range(100)
            )
            jobs.append(quiet.enqueue("And once more?", max_new_tokens=1))
        assert nobody.llen(QUEUE) == MOST_MESSAGES
    for job in jobs:
        client.job(job.id).wait()


FORGED = {
    "a word": b"garbage",
    "no text": b"\xff\xfe",
    "a number": b"5",
    "null": b"null",
    "a list": b"[]",
    "an empty object": b"{}",
    "deep": b"{" * 100_000,
    **{f"without {part}": json.dumps(message(**{part: None})).encode() for part in message()},
    "pickled": json.dumps(message(**{"content-type": "application/x-python-serialize"})).encode(),
    "another task": json.dumps(message(headers={"task": "os.system", "id": "1", "lang": "py"})).encode(),
    "headers of wrong types": json.dumps(message(headers={"task": 5, "id": {}, "lang": []})).encode(),
    "no base64": json.dumps(message(body="!!!")).encode(),
    "a number inside": json.dumps(message(body=body(5))).encode(),
    "numbers inside": json.dumps(message(body=body([1, 2, 3]))).encode(),
    "no job": json.dumps(message(body=body([["not-a-job"], {}, {}]))).encode(),
    "long": json.dumps(message(body=body([["x" * 3_000_000], {}, {}]))).encode(),
    "a job by name": json.dumps(message(body=body([[], {"job": [{}]}, {}]))).encode(),
}


@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED.keys())
def test_a_forged_message_does_no_harm(
    answering: Stack, client: Client, wakeups: redis.Redis, forged: bytes
) -> None:
    wakeups.lpush(QUEUE, forged)

    job = client.enqueue("Is anybody there?", max_new_tokens=2)
    job.wait()

    assert answers(answering, job) == 1
    assert answering.workers[0].alive


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    forged=st.lists(
        st.binary(max_size=200) | st.text().map(lambda text: json.dumps(text).encode()), max_size=4
    )
)
def test_any_bytes_do_no_harm(
    answering: Stack, client: Client, wakeups: redis.Redis, forged: list[bytes]
) -> None:
    for raw in forged:
        wakeups.lpush(QUEUE, raw)
    job = client.enqueue("Still there?", max_new_tokens=1)

    assert job.wait().job_id == job.id
    assert answering.workers[0].alive
