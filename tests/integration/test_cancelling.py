"""A job that its caller no longer wants leaves its batch, and nobody else notices."""

from collections.abc import Sequence
from contextlib import ExitStack

import pytest
from tests.fix_answering import Stack
from tests.until import until
from tests.worker_process import asleep
from tests.world import World

from loradex.db.session import connect
from loradex.errors import JobCancelledError, JobExpiredError, WaitTimeoutError
from loradex.service.cli import run
from loradex.service.client import Client, Job

LONG = 200
RUNNING_SECONDS = 60.0


def slow(client: Client, count: int = 12) -> Sequence[Job]:
    return client.enqueue_many(
        {"prompt": f"Slow and steady {number}?", "max_new_tokens": LONG} for number in range(count)
    )


def test_a_running_job_leaves_its_batch_and_the_others_are_as_without_it(
    answering: Stack, client: Client
) -> None:
    worker = answering.workers[0]
    whole = [job.wait().text for job in slow(client)]
    with ExitStack() as until_cancelled:
        with answering.routing_held():
            jobs = slow(client)
            until(lambda: jobs[3].status == "running", RUNNING_SECONDS)
            until_cancelled.enter_context(asleep(worker))
        with connect(answering.database_url) as anybody:
            # Any login may send a notification: a job that nobody cancelled stays.
            anybody.execute("select pg_notify('loradex_stop', %s)", (str(jobs[4].id),))

        assert jobs[3].cancel() == "cancelled"
    with pytest.raises(JobCancelledError, match="cancelled it while it was running") as caught:
        jobs[3].wait()
    assert caught.value.code == "job_cancelled"
    others = [place for place in range(len(jobs)) if place != 3]
    assert [jobs[place].wait().text for place in others] == [whole[place] for place in others]
    assert (jobs[3].status, jobs[3].cancel()) == ("cancelled", "cancelled")
    worker.wait_for(f'"job": "{jobs[3].id}"')
    assert "job.fenced_off" in next(line for line in worker.since(0).splitlines() if str(jobs[3].id) in line)


def test_a_job_that_runs_past_its_deadline_ends(client: Client) -> None:
    jobs = slow(client, 60)
    late = client.enqueue("Too late?", deadline=0.05, priority=-1)
    with pytest.raises(JobExpiredError, match=r"deadline of 0\.05 s") as caught:
        late.wait()
    assert (caught.value.code, late.status) == ("job_expired", "expired")
    client.cancel([job.id for job in jobs])


def test_the_command(
    answering: Stack,
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in answering.environment().items():
        monkeypatch.setenv(name, value)
    done = client.enqueue("Done?", max_new_tokens=1)
    done.wait()
    assert run(["cancel", str(done.id)]) == 0
    assert capsys.readouterr().out == f"{done.id} is done, as it was before\n"
    assert run(["cancel", str(done.id), "--json"]) == 0
    assert capsys.readouterr().out == f'{{"{done.id}": "done"}}\n'
    assert run(["cancel", "nonsense"]) == 1
    assert "is not an id" in capsys.readouterr().err


def test_who_waits_for_nobody_is_told(world: World, database_url: str, redis_url: str) -> None:
    """A job that no living worker takes is accepted; the waiter is told who is missing."""
    with Client(database_url, redis_url) as client:
        job = client.enqueue("Is anybody there?")
        with pytest.raises(WaitTimeoutError, match="no living worker takes jobs of base model"):
            job.wait(timeout=0.1)
        assert job.cancel() == "cancelled"
