"""The short version of `make faults`: most kinds of fault once, on real processes."""

import pytest
from tests.faults.campaign import SHORT, run_campaign

JOBS = 60


@pytest.mark.timeout(600)
def test_nothing_is_lost_doubled_or_forged() -> None:
    report = run_campaign(JOBS, seed=20261123, faults=SHORT, workers=2)

    assert report.jobs == JOBS
    assert report.lost == 0
    assert report.duplicates == 0
    assert report.chain_intact
    assert report.answers + sum(report.failed.values()) == JOBS
    assert report.faults == {fault.__name__: 1 for fault in SHORT}
    assert set(report.recovery) == set(report.faults)
