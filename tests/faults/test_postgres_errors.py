"""A cut between a worker and Postgres at any stage, and clocks that go back: the job is answered, once."""

from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

import pytest
from tests.fix_answering import Stack, StackOn
from tests.proxy import Moment, Proxy
from tests.worker_process import WorkerProcess

from loradex.db.session import connect
from loradex.errors import JobFailedError

LEASE_SECONDS = "1"


@pytest.fixture(scope="module")
def site(stack_on: StackOn) -> Iterator[Stack]:
    with stack_on("cuts") as made:
        yield made


@pytest.fixture(scope="module")
def proxy(site: Stack) -> Iterator[Proxy]:
    parts = urlsplit(site.database_url)
    made = Proxy((str(parts.hostname), int(parts.port or 0)))
    yield made
    made.close()


@pytest.fixture(scope="module")
def worker(site: Stack, proxy: Proxy) -> WorkerProcess:
    """One worker that lives through every cut."""
    parts = urlsplit(site.database_url)
    through = parts._replace(netloc=f"{parts.username}:{parts.password}@127.0.0.1:{proxy.port}")
    return site.worker(DATABASE_URL=urlunsplit(through), LEASE_SECONDS=LEASE_SECONDS).start()


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("said", ["pg_type", "claim_jobs", "route_jobs", "extend_lease", "recipe_hash"])
def test_a_worker_outlives_a_cut_at_any_stage(
    site: Stack, worker: WorkerProcess, proxy: Proxy, said: str, moment: Moment
) -> None:
    tokens = 180 if said == "extend_lease" else 1
    with site.client() as client:
        proxy.cut_at(said, moment)
        proxy.cut()  # over a new connection the names of functions are sent again
        jobs = client.enqueue_many(
            {"prompt": f"Is {said} cut, {number}?", "max_new_tokens": tokens} for number in range(24)
        )
        answers = [job.wait() for job in jobs]

    assert proxy.armed == 0
    assert [answer.job_id for answer in answers] == [job.id for job in jobs]
    assert worker.alive


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_worker_outlives_a_cut_while_it_records_a_failure(
    site: Stack, worker: WorkerProcess, proxy: Proxy, moment: Moment
) -> None:
    with site.client() as client:
        proxy.cut_at("fail_job", moment)
        proxy.cut()
        with pytest.raises(JobFailedError) as failed:
            client.enqueue("word " * 200).wait()

    assert proxy.armed == 0
    assert failed.value.code == "prompt_too_long"
    assert worker.alive


def test_a_job_that_seems_to_come_from_the_future_is_answered(stack: Stack) -> None:
    with stack.client() as client, connect(stack.database_url) as connection:
        job = client.enqueue("Was the clock set back?", max_new_tokens=1)
        connection.execute("update loradex.jobs set created_at = now() + interval '1 hour'")
        stack.worker().start()

        assert job.wait().timings["wait"] == 0
