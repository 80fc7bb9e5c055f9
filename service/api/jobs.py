"""`/v1/jobs`: questions that nobody waits for, found again by their ids."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, cast, get_args
from uuid import UUID

from loradex.errors import InvalidArgumentError
from loradex.service.api.fields import Names
from loradex.service.api.models import Model, named
from loradex.service.api.problem import Problem, refused
from loradex.service.client import AsyncClient, AsyncJob, JobFacts, Request
from loradex.service.client.answer import Answer
from loradex.service.client.outcome import JobOutcome, Status
from loradex.service.client.request import CONSTRAINTS

MOST_MODELS = 100
"""Different ones that the jobs of one request may name."""

MOST_CONSTRAINTS = 32
"""Different ones that the jobs of one request may be held to: each is read before anything is handed in."""

MOST_LISTED = 500
LISTED_AT_ONCE = 50
"""Jobs that are read together: a prompt may be long, and a server has many readers."""

MOST_LISTED_CHARACTERS = 4 << 20
"""Of prompts in one page, which ends early; `has_more` says so."""

METADATA = re.compile(r"metadata\[(?P<key>.+)\]", re.DOTALL)


async def requests_of(client: AsyncClient, jobs: Sequence[Mapping[str, Any]], called: Names) -> list[Request]:
    """The jobs of a body. `model` stands for base model, adapter and method; the rest are the fields of a job.

    `called` is what the endpoint calls them.

    Raises:
        Problem: There is no such model, or too many are named; they are held to too many schemas and patterns.
        InvalidArgumentError: A field is none, or has the wrong shape.
    """
    names = {job["model"] for job in jobs if isinstance(job.get("model"), str)}
    if len(names) > MOST_MODELS:
        raise refused(f"the jobs name {len(names)} models; {MOST_MODELS} may stand in one request", "jobs")
    held_to = {(name, str(job[name])) for job in jobs for name in CONSTRAINTS if job.get(name) is not None}
    if len(held_to) > MOST_CONSTRAINTS:
        raise refused(
            f"the jobs are held to {len(held_to)} schemas and patterns; {MOST_CONSTRAINTS} may stand in one request",
            "jobs",
        )
    models = {name: await _named(client, name, jobs, called) for name in sorted(names)}
    # Thousands of jobs, and constraints, are a while of work, and other requests shall not wait for it.
    return await asyncio.to_thread(_made, jobs, models, called)


def _made(jobs: Sequence[Mapping[str, Any]], models: Mapping[str, Model], names: Names) -> list[Request]:
    requests = []
    for number, job in enumerate(jobs):
        fields = {name: value for name, value in job.items() if name != "model"}
        if job.get("model") is not None:
            if not isinstance(job["model"], str):
                raise refused("model must be a text", names.called("model", number))
            fields = models[job["model"]].fields(fields, partial(names.called, place=number))
        try:
            requests.append(Request.of(fields))
        except InvalidArgumentError as error:
            raise InvalidArgumentError(f"job {number + 1}: {error}") from None
    return requests


async def _named(client: AsyncClient, name: str, jobs: Sequence[Mapping[str, Any]], names: Names) -> Model:
    """The model; one that is none is told with the first job that names it."""
    try:
        return await named(client, name)
    except Problem as problem:
        place = next(place for place, job in enumerate(jobs) if job.get("model") == name)
        raise replace(problem, param=names.called("model", place)) from None


async def page_of(client: AsyncClient, query: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """A page of the jobs of the key's owner, newest first.

    Raises:
        Problem: A parameter is none, or has the wrong shape.
    """
    state, after, limit, metadata = None, None, 100, dict[str, str]()
    for name, value in query:
        pair = METADATA.fullmatch(name)
        if pair is not None and "\0" not in name + value:
            metadata[pair["key"]] = value
        elif name == "state" and value in get_args(Status):
            state = cast("Status", value)
        elif name == "after" and (last := _id_in(value)):
            after = last
        elif name == "limit" and re.fullmatch("[0-9]{1,3}", value) and 1 <= int(value) <= MOST_LISTED:
            limit = int(value)
        else:
            raise refused(
                f"state is one of {', '.join(get_args(Status))}, limit from 1 to {MOST_LISTED}, after an id, and "
                "metadata[KEY] a text without NUL",
                ascii(name)[1:-1][:100],
            )
    shown: list[dict[str, Any]] = []
    characters, has_more = 0, True
    while has_more and len(shown) < limit and characters < MOST_LISTED_CHARACTERS:
        wanted = min(limit - len(shown), LISTED_AT_ONCE)
        found = await client.jobs(state=state, metadata=metadata or None, limit=wanted + 1, after=after)
        shown += [told(job.facts) for job in found[:wanted] if job.facts is not None]
        characters += sum(len(job.facts.prompt) for job in found[:wanted] if job.facts is not None)
        has_more = len(found) > wanted
        after = shown[-1]["id"] if shown else None
    return {
        "object": "list",
        "data": shown,
        "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None,
        "has_more": has_more,
    }


def _id_in(text: str) -> str | None:
    """The id, if it is one."""
    try:
        return str(UUID(text))
    except ValueError:
        return None


def accepted(job: AsyncJob) -> dict[str, Any]:
    """A job that was handed in; `created` is false where the idempotency key gave an older one."""
    return {"id": str(job.id), "object": "job", "created": job.created}


def told(facts: JobFacts) -> dict[str, Any]:
    """A job as the list has it."""
    return {
        "id": str(facts.job_id),
        "object": "job",
        "status": facts.status,
        "kind": facts.kind,
        "prompt": facts.prompt,
        "metadata": dict(facts.metadata),
        "priority": facts.priority,
        "created_at": facts.created_at.isoformat(),
        "started_at": None if facts.started_at is None else facts.started_at.isoformat(),
        "finished_at": None if facts.finished_at is None else facts.finished_at.isoformat(),
        "error": _error(facts.error_code, facts.error_message),
    }


def whole(outcome: JobOutcome) -> dict[str, Any]:
    """A job by itself, with its answer if it has one."""
    return {
        "id": str(outcome.job_id),
        "object": "job",
        "status": outcome.status,
        "error": _error(outcome.error_code, outcome.error_message),
        "answer": None if outcome.answer is None else Answer.of(outcome.answer).as_dict(),
    }


def _error(code: str | None, message: str | None) -> dict[str, Any] | None:
    return None if code is None else {"code": code, "message": message}
