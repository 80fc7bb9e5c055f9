"""A part of `python -m tests.faults.outages`: each outage at one moment, all of them outlived by one worker."""

from collections.abc import Iterator

import pytest
from tests.faults.outage_site import OutageSite, opened
from tests.faults.outages import FULL_DISKS, MOMENTS, OUTAGES, POOLER, Outage, chain_is_intact, outcome
from tests.needs import skip_or_fail

# tests/faults/test_redis_errors.py goes through the states of Redis.
HERE = [name for name in OUTAGES if not name.startswith("Redis")]
ADVICE = {
    "Postgres: read-only replica": "name the primary",
    "Postgres: no connection free": "run fewer clients and workers",
    "Postgres: login locked": "name a login",
    "Postgres: right to claim taken away": "SECURITY.md",
    "Postgres: a function is missing": "loradex db upgrade",
    "Postgres: a lock is held": "`loradex status` names it",
    "network: names are not resolved": "look at the name service",
    "network: certificates expired": "renew the certificate",
}

REFUSALS = {
    "Postgres: right to claim taken away",
    "Postgres: right to route taken away",
    "Postgres: right to record taken away",
}
"""What lasts may last: it costs no job an attempt."""


@pytest.fixture(scope="module")
def site() -> Iterator[OutageSite]:
    """Whatever came, and in whatever order: the chain is whole afterwards."""
    with opened() as made:
        yield made
        assert chain_is_intact(made)


@pytest.mark.parametrize(("place", "name"), list(enumerate(HERE)))
def test_an_outage_loses_nothing_and_says_what_to_do(site: OutageSite, place: int, name: str) -> None:
    if name in FULL_DISKS and not site.postgres.has_own_disk:
        skip_or_fail("a disk to fill is mounted for the server, which needs root")
    moment = "claiming" if name in ADVICE or name in REFUSALS else MOMENTS[place % len(MOMENTS)]

    came = outcome(site, name, OUTAGES[name], moment, ADVICE.get(name, ""))

    assert (came.lost, came.doubled) == (0, 0), came
    assert name not in REFUSALS or came.attempts == 1
    assert ADVICE.get(name, "") in " ".join(came.said)
    assert not any("Traceback" in line or "psycopg" in line for line in came.said)


@pytest.mark.parametrize(("name", "outage"), POOLER.items())
def test_a_pooler_may_come_and_go(name: str, outage: Outage) -> None:
    with opened(pooled=True) as pooled:
        came = outcome(pooled, name, outage, "recording", "try again")

        assert (came.lost, came.doubled) == (0, 0), came
        assert "try again" in " ".join(came.said)
        assert not any("Traceback" in line or "psycopg" in line for line in came.said)
        assert chain_is_intact(pooled)
