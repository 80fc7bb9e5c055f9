"""A worker takes jobs in while others are computed, and records each as soon as it is done."""

from collections.abc import Iterator
from datetime import datetime

import pytest
from tests.fix_answering import NO_SWEEP, Stack, StackOn
from tests.until import until

from loradex.db.session import connect
from loradex.service.client import Client, Job

LONG = 200
PLACES = 3
WAIT_SECONDS = 120.0


@pytest.fixture(scope="module")
def site(stack_on: StackOn) -> Iterator[Stack]:
    """A worker that has few places, and that nothing wakes but bells."""
    with stack_on("continuous") as made:
        made.worker(BATCH_ROWS=str(PLACES + 1), RESERVED_ROWS="1", SWEEP_SECONDS=NO_SWEEP).start()
        yield made


@pytest.fixture
def client(site: Stack) -> Iterator[Client]:
    with site.client() as made:
        yield made


def ended_at(site: Stack, job: Job) -> datetime:
    with connect(site.database_url) as connection:
        row = connection.execute(
            "select created_at from loradex.answers where job_id = %s", (job.id,)
        ).fetchone()
    assert row is not None
    return datetime.fromisoformat(str(row[0]))


def test_jobs_that_came_while_there_was_no_room_are_taken_in_when_there_is(client: Client) -> None:
    jobs = [client.enqueue(f"Number {number}?", max_new_tokens=20) for number in range(4 * PLACES)]
    assert {job.wait(WAIT_SECONDS).job_id for job in jobs} == {job.id for job in jobs}


def test_a_short_job_ends_before_long_ones_that_began_earlier(site: Stack, client: Client) -> None:
    long = [
        client.enqueue(f"A long one, {number}", max_new_tokens=LONG, min_tokens=LONG)
        for number in range(PLACES - 1)
    ]
    until_running(long)
    choice = client.enqueue("Is it short?", choices=["yes", "no"])
    text = client.enqueue("A short one", max_new_tokens=2)
    for job in (choice, text, *long):
        job.wait(WAIT_SECONDS)
    assert max(ended_at(site, choice), ended_at(site, text)) < min(ended_at(site, job) for job in long)


def test_an_urgent_job_does_not_wait_for_others_to_end(site: Stack, client: Client) -> None:
    running = [
        client.enqueue(f"First, {number}", max_new_tokens=LONG, min_tokens=LONG) for number in range(PLACES)
    ]
    until_running(running)
    # In one call: what runs must not end while they are handed in one by one.
    long = {"max_new_tokens": LONG, "min_tokens": LONG}
    *later, urgent = client.enqueue_many(
        [
            *({"prompt": f"Later, {number}", **long} for number in range(2 * PLACES)),
            {"prompt": "Now", "max_new_tokens": 2, "priority": 100},
        ]
    )
    for job in (*running, *later, urgent):
        job.wait(WAIT_SECONDS)
    assert ended_at(site, urgent) < min(ended_at(site, job) for job in (*running, *later))


def test_a_cancelled_text_makes_room_at_once(site: Stack, client: Client) -> None:
    running = [
        client.enqueue(f"To cancel, {number}", max_new_tokens=LONG, min_tokens=LONG)
        for number in range(PLACES)
    ]
    until_running(running)
    after = client.enqueue("After", max_new_tokens=2)
    running[0].cancel()
    for job in (after, *running[1:]):
        job.wait(WAIT_SECONDS)
    assert ended_at(site, after) < min(ended_at(site, job) for job in running[1:])


def until_running(jobs: list[Job]) -> None:
    """Each has begun; on a busy machine the first may have ended when the last one is looked at."""
    until(lambda: all(job.status != "queued" for job in jobs), WAIT_SECONDS)
