"""The first stages of a job's way: claim, embed, route, prepare."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from loradex.library.adapter_roots import AdapterRoots
from loradex.worker.clock import Clock
from loradex.worker.ending import Ending
from loradex.worker.engine.embed import Encoder
from loradex.worker.engine.recipe import Recipe
from loradex.worker.engine.rows import Row
from loradex.worker.fetching import Fetching
from loradex.worker.identity import WorkerIdentity
from loradex.worker.isolation import Failure, run_isolated
from loradex.worker.jobs import Job, Jobs
from loradex.worker.leases import Leases
from loradex.worker.stages import Claimed, Embedded, Prepared, Routed
from loradex.worker.traces import ROUTE

Before = TypeVar("Before", bound=Claimed)
After = TypeVar("After", bound=Claimed)


class Intake:
    """Takes jobs from the queue and makes them ready for the engine, several at a time.

    Args:
        jobs: The connection it claims over.
        leases: Of the jobs in hand.
        ending: What becomes of jobs that fail on the way.
        encoder: Embeds prompts.
        adapters: Where adapters' files are.
        identity: What is the same for every answer.
    """

    def __init__(
        self,
        jobs: Jobs,
        *,
        leases: Leases,
        ending: Ending,
        encoder: Encoder,
        adapters: AdapterRoots,
        identity: WorkerIdentity,
    ) -> None:
        self._jobs = jobs
        self._leases = leases
        self._ending = ending
        self._encoder = encoder
        self._adapters = adapters
        self._fetching = Fetching(adapters)
        self._identity = identity

    def claim(self, most: int, *, urgent: bool = False) -> list[Job]:
        """Up to `most` waiting jobs, or urgent ones of them, under a lease that is kept from now on."""
        jobs = self._jobs.claim(most, urgent=urgent)
        self._leases.hold(jobs)
        return jobs

    def prepare(self, jobs: Sequence[Job], ready: Callable[[Prepared], None]) -> None:
        """Calls `ready` with each job that the engine can take; one that fails on the way is recorded as failed.

        A job whose adapters have to be fetched comes later, from another thread.
        """
        with self._ending.let_go_if_broken(jobs):
            embedded = self._through("embed", self._embed, [Claimed(job, Clock()) for job in jobs])
            routed = self._through("route", self._route, embedded)
            for one in routed:
                uris = [part["uri"] for part in one.routing.mixture]
                if not all(map(self._adapters.at_hand, uris)):
                    self._leases.wait_elsewhere(one.job, waits=True)
                self._fetching.when_here(uris, partial(self._go_on, one, ready))

    def _embed(self, batch: Sequence[Claimed]) -> list[Embedded | Failure]:
        questions = self._encoder.embed_questions([one.job.prompt for one in batch])
        return [
            Embedded(one.job, one.clock, question) for one, question in zip(batch, questions, strict=True)
        ]

    def _route(self, batch: Sequence[Embedded]) -> list[Routed | Failure]:
        since = time.perf_counter()
        routings = self._jobs.route([one.job for one in batch], [one.question.vector for one in batch])
        for one in batch:
            one.clock.called(ROUTE, since)
        return [
            Routed(one.job, one.clock, one.question, routing)
            for one, routing in zip(batch, routings, strict=True)
        ]

    def _go_on(self, one: Routed, ready: Callable[[Prepared], None], failure: Failure | None) -> None:
        """Makes a routed job ready, whose adapters are here or cannot be had."""
        self._leases.wait_elsewhere(one.job, waits=False)
        if not self._leases.holds(one.job):
            return

        def prepare(_: Sequence[Routed]) -> list[Prepared | Failure]:
            return [failure or self._prepared(one)]

        with self._ending.let_go_if_broken([one.job]):
            for prepared in self._through("prepare", prepare, [one]):
                ready(prepared)

    def _prepared(self, one: Routed) -> Prepared:
        job, routing = one.job, one.routing
        recipe = Recipe.decided(vars(routing), job.settings["density"], self._identity.dtype)
        row = Row.of(
            self._identity.framed(job),
            recipe,
            kind=job.kind,
            choices=job.choices,
            settings={**job.settings, "prior": routing.prior, "urgent": job.urgent},
            seed=job.seed,
        )
        adapters = {
            part["sha256"]: self._adapters.locate(part["uri"], part["sha256"]) for part in routing.mixture
        }
        return Prepared(job, one.clock, one.question, routing, recipe, row, adapters)

    def _through(
        self,
        stage: str,
        step: Callable[[Sequence[Before]], Sequence[After | Failure]],
        batch: Sequence[Before],
    ) -> list[After]:
        """What comes out of a stage; a job that fails in it is recorded as failed."""
        done: list[After] = []
        for one, result in zip(batch, run_isolated(step, batch), strict=True):
            one.clock.lap(stage)
            if isinstance(result, Failure):
                self._ending.fail(one, result)
            else:
                done.append(result)
        return done
