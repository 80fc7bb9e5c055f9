"""Jobs of one request: handed in together, waited for, and cancelled when whoever asked has left."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from loradex.errors import JobFailedError, LoradexError, WaitTimeoutError
from loradex.service.api.problem import problem_of
from loradex.service.client import AsyncClient, AsyncJob, Request

WAIT_SECONDS = 300.0
LOG = logging.getLogger("loradex.api")

Document = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """A job that was answered, and its answer as `loradex.answer_document` tells it."""

    job: AsyncJob
    answer: Document


class Asking:
    """Hands jobs in and waits for them. What is to be done for those who left is done before `close` ends."""

    def __init__(self) -> None:
        self._cancelling: set[asyncio.Task[None]] = set()

    async def answers(
        self, client: AsyncClient, requests: Sequence[Request], key: str | None, seconds: float | None
    ) -> list[Asked]:
        """The answers, in the order of the requests.

        Args:
            client: Acts for the owner of the key that was shown.
            requests: The jobs.
            key: What the client calls this request, so that asking again gives the same jobs; None: each is new.
            seconds: How long to wait.

        Raises:
            Problem: There is no answer in time, or a job ended without one; its id is told.
            asyncio.CancelledError: Who asked has left. Jobs without a key are cancelled; those with one go on, since
                whoever has it may ask again.
        """
        handing_in = asyncio.ensure_future(client.enqueue_many(keyed(requests, key)))
        try:
            jobs = await asyncio.shield(handing_in)
            return await _waited(client, jobs, WAIT_SECONDS if seconds is None else seconds)
        except asyncio.CancelledError:
            if key is None:
                task = asyncio.create_task(_abandon(client, handing_in))
                self._cancelling.add(task)
                task.add_done_callback(self._cancelling.discard)
            raise

    async def close(self) -> None:
        """Wait for what is being cancelled."""
        await asyncio.gather(*self._cancelling)


def keyed(requests: Sequence[Request], key: str | None) -> list[Request]:
    """The jobs of a request with an idempotency key: of several each has it with its number, but one of its own."""
    if key is None:
        return list(requests)
    keys = [key] if len(requests) == 1 else [f"{key}:{number}" for number in range(len(requests))]
    return [
        replace(one, idempotency_key=one.idempotency_key or made)
        for one, made in zip(requests, keys, strict=True)
    ]


async def _waited(client: AsyncClient, jobs: Sequence[AsyncJob], seconds: float) -> list[Asked]:
    try:
        if len(jobs) == 1:
            await jobs[0].wait(seconds)
        else:
            async for _ in client.as_completed(jobs, seconds):
                pass
        for job in jobs:
            await job.wait(seconds)
    except (JobFailedError, WaitTimeoutError) as error:
        problem = problem_of(error)
        ids = [str(job.id) for job in jobs]
        raise replace(
            problem,
            headers={**problem.headers, "x-loradex-job-id": ids[0]},
            also={"loradex": {"job_ids": ids}},
        ) from error
    return [Asked(job, dict(job.ended.answer)) for job in jobs if job.ended is not None and job.ended.answer]


async def _abandon(client: AsyncClient, handing_in: "asyncio.Future[list[AsyncJob]]") -> None:
    """Cancel what was handed in for somebody who left, once it is known what that was."""
    try:
        jobs = await handing_in
        await client.cancel([job.id for job in jobs])
    except LoradexError as error:
        LOG.warning("the jobs of a client that left go on: %s", error.code)
