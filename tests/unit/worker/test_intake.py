"""What becomes of jobs between the queue and the engine, while adapters of some of them are fetched."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest
from tests.until import until

from loradex.errors import AdapterChangedError
from loradex.worker.intake import Intake
from loradex.worker.isolation import Failure
from loradex.worker.jobs import Job, Routing
from loradex.worker.leases import Leases
from loradex.worker.stages import Claimed, Prepared


class Places:
    """Adapters of which some lie elsewhere, and come when they are let."""

    def __init__(self) -> None:
        self.here = {"near"}
        self.asked: list[str] = []
        self.let = threading.Event()

    def at_hand(self, uri: str) -> bool:
        return uri in self.here

    def locate(self, uri: str, _sha256: str = "") -> Path:
        if uri not in self.here:
            self.asked.append(uri)
            assert self.let.wait(60)
            if uri == "gone":
                raise AdapterChangedError("its files are gone")
            self.here.add(uri)
        return Path("/adapters") / uri


class Site:
    """An intake without a database, where a prompt names its adapters."""

    def __init__(self) -> None:
        self.places = Places()
        self.ready: list[str] = []
        self.failed: dict[str, str] = {}
        self.leases = Leases(cast(Any, SimpleNamespace(lease=timedelta(seconds=60))))
        self.intake = Intake(
            cast(Any, SimpleNamespace(route=self.route)),
            leases=self.leases,
            ending=cast(Any, SimpleNamespace(fail=self.fail, let_go_if_broken=nullcontext)),
            encoder=cast(Any, SimpleNamespace(embed_questions=self.embed)),
            adapters=cast(Any, self.places),
            identity=cast(Any, SimpleNamespace(dtype="float32", framed=lambda job: job.prompt)),
        )

    def embed(self, prompts: Sequence[str]) -> list[Any]:
        return [SimpleNamespace(vector=None) for _ in prompts]

    def route(self, jobs: Sequence[Job], _: object) -> list[Routing]:
        mixtures = [
            [{"sha256": uri, "uri": uri, "weight": 1.0} for uri in job.prompt.split()] for job in jobs
        ]
        return [Routing(merge="cat", calibrated=False, mixture=mixture) for mixture in mixtures]

    def fail(self, one: Claimed, failure: Failure) -> None:
        self.failed[one.job.prompt] = failure.code

    def prepare(self, *prompts: str) -> None:
        def ready(one: Prepared) -> None:
            assert all(path == Path("/adapters") / sha256 for sha256, path in one.adapters.items())
            assert " ".join(one.adapters) == one.job.prompt
            self.ready.append(one.job.prompt)

        settings = {"density": 1.0}
        jobs = [
            Job(uuid4(), "generate", prompt, None, None, None, settings, 1, None, 0, 0.0)
            for prompt in prompts
        ]
        self.leases.hold(jobs)
        self.intake.prepare(jobs, ready)


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    yield made
    made.places.let.set()


def test_only_jobs_whose_adapters_are_fetched_wait_for_them(site: Site) -> None:
    site.prepare("far near", "near", "near far further", "", "gone")
    assert site.ready == ["near", ""]
    until(lambda: len(site.places.asked) == 2)
    site.prepare("far", "near")
    assert site.ready == ["near", "", "near"]
    site.places.let.set()
    until(lambda: len(site.ready) == 6 and site.failed)
    assert set(site.ready[3:]) == {"far near", "near far further", "far"}
    assert site.failed == {"gone": "adapter_changed"}
    assert sorted(site.places.asked) == ["far", "further", "gone"], "each once, for whoever waits"


def test_who_waits_for_files_is_in_hand_and_not_worked_on(site: Site) -> None:
    site.prepare("far", "near")
    assert site.leases.wait_for(1, 0)
    assert not site.leases.wait_for(0, 0)
    assert len(site.leases) == 2
    site.places.let.set()
    until(lambda: site.ready == ["near", "far"])
    assert not site.leases.wait_for(1, 0)


def test_a_job_that_is_over_is_not_made_ready_when_its_files_come(site: Site) -> None:
    site.prepare("far", "near far")
    site.leases.let_go([job for job in site.leases.held() if job.prompt == "far"])
    site.places.let.set()
    # The first who asked for the files is called first.
    until(lambda: site.ready == ["near far"])
