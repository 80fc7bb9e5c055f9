"""How jobs end where Postgres does not take what became of them."""

from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest

from loradex.errors import DatabaseUnavailableError, PermissionRefusedError
from loradex.worker.ending import Ending
from loradex.worker.jobs import Job
from loradex.worker.leases import Leases
from loradex.worker.pieces import Pieces


class Site:
    """An ending without a database, that streams to nobody."""

    def __init__(self) -> None:
        self.released: list[str] = []
        jobs = SimpleNamespace(lease=timedelta(seconds=60), release=self.release)
        self.leases = Leases(cast(Any, jobs))
        self.pieces = Pieces("redis://127.0.0.1:1")
        self.ending = Ending(
            cast(Any, jobs),
            leases=self.leases,
            pieces=self.pieces,
            observer=cast(Any, None),
            identity=cast(Any, SimpleNamespace(worker="one")),
        )

    def release(self, jobs: list[Job], *, ring: bool) -> None:
        assert not ring
        self.released += [job.prompt for job in jobs]

    def streaming(self, text: str) -> Job:
        job = Job(uuid4(), "generate", "asked", None, None, None, {}, 1, uuid4(), 0, 0.0)
        self.leases.hold([job])
        self.pieces.put(job, text)
        return job


@pytest.mark.parametrize("error", [DatabaseUnavailableError("away"), PermissionRefusedError("refused")])
def test_a_job_that_is_let_go_leaves_no_text(error: Exception) -> None:
    """Its text would count against those of all others until this worker ends."""
    site = Site()
    job = site.streaming("a long text " * 100)
    with pytest.raises(type(error)), site.ending.let_go_if_broken([job]):
        raise error
    assert not len(site.leases)
    assert not site.pieces._texts
    assert site.pieces._characters == 0
    assert site.released == (["asked"] if isinstance(error, PermissionRefusedError) else [])
