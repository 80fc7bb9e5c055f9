"""A worker with vLLM is killed while it answers: no job is lost, none is answered twice."""

from tests.faults import kinds
from tests.faults.campaign import Campaign
from tests.faults.site import opened
from tests.vllm_worker.conftest import ENVIRONMENT, WITH_VLLM, python, wider_heads

from loradex.service.client import Client

KILLS = {kinds.kill_worker: 1, kinds.kill_worker_before_commit: 1}
JOBS = 40


def test_no_job_is_lost_or_doubled_when_it_is_killed() -> None:
    with (
        wider_heads(),
        opened(1, settings=WITH_VLLM, python=python(), environment=ENVIRONMENT) as site,
        Client(site.database_url, site.redis_url) as client,
    ):
        report = Campaign(site, client, JOBS, 1, KILLS).run()
    assert report.faults == {"kill_worker": 1, "kill_worker_before_commit": 1}
    assert (report.jobs, report.answers, report.failed) == (JOBS, JOBS, {})
    assert report.kept, report
    # Some were in hand when it was killed, and took another attempt.
    assert max(report.attempts) > 1
