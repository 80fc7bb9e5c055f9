"""`/playground`: a question asked in one way or in two, answers read as they are written, compared and rated."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, LiteralString
from uuid import UUID

from starlette.responses import RedirectResponse, Response

from loradex.errors import UnknownAnswerError, UnknownJobError
from loradex.service.api.asking import Asked, heard
from loradex.service.api.chunks import SILENCE, event
from loradex.service.api.event_stream import EventStream
from loradex.service.api.fields import JOB
from loradex.service.api.problem import refused
from loradex.service.client import AsyncClient, Request
from loradex.service.client.calls import uuid_of
from loradex.service.explorer.differences import differences
from loradex.service.explorer.look import Look
from loradex.service.explorer.page import HEADERS

PATH = "/playground"
MOST_TOKENS = 1_000
RATINGS = {"good": 1, "bad": -1}
WAYS: LiteralString = """
    select 'method:' || name as way, name as title, 0 as place from loradex.methods where selection <> 'own'
    union all
    select distinct 'adapter:' || a.name, a.name || ' alone', 1
    from loradex.adapters a
    join loradex.settings s on s.name = 'base_model' and s.value #>> '{}' = a.base_model
    where a.state = 'active'
    order by place, title
    limit 1000"""
"""How a question may be answered: what the form calls it, and what a person does."""

ASKED: LiteralString = """
    select j.id::text as job_id, j.prompt, j.method, j.adapter, j.state, j.error_code, j.error_message,
           a.id::text as answer_id, a.text, (a.timings ->> 'total')::float8 as milliseconds, a.adapters, a.weights,
           (select f.rating from loradex.feedback f where f.answer_id = a.id order by f.id desc limit 1) as rating
    from loradex.jobs j left join loradex.answers a on a.id = j.answer_id
    where j.id = any (%s)
    order by array_position(%s, j.id)"""
LIKE: LiteralString = """
    select prompt, jsonb_array_length(messages) - 1 as earlier from loradex.answers
    where id = %s and prompt is not null"""
RATE: LiteralString = "select loradex.rate_answer(%s, %s)"


async def page(look: Look) -> Response:
    """The page: a form, and below it what was asked last."""
    look.asking()
    told = look.http.query_params
    jobs = [uuid_of(one, UnknownJobError) for one in told.getlist("job")[:2]]
    asked = await look.source.rows(ASKED, (jobs, jobs)) if jobs else []
    if len(asked) < len(set(jobs)):
        raise UnknownJobError(f"no job {jobs[0]}, or it is another user's")
    prompt, earlier = asked[0]["prompt"] if asked else "", None
    if told.get("like"):
        found = await look.source.rows(LIKE, (uuid_of(told["like"], UnknownAnswerError),))
        prompt, earlier = (found[0]["prompt"], found[0]["earlier"]) if found else ("", None)
    texts = [one["text"] for one in asked]
    compared = len(texts) == 2 and None not in texts  # noqa: PLR2004 - two ways
    return look.page(
        "playground.html",
        {
            "ways": await look.source.rows(WAYS),
            "prompt": prompt,
            "earlier": earlier,
            "asked": asked,
            "parts": await asyncio.to_thread(differences, *texts) if compared else None,
            "most": MOST_TOKENS,
            "here_again": f"{PATH}?{look.http.url.query}",
        },
    )


async def ask(look: Look) -> Response:
    """Hand the question in, once for each way, and go to where its answers are read."""
    client = look.asking()
    prompt, tokens = look.said("prompt"), look.said("tokens")
    if not prompt.strip():
        raise refused("there is no question; write one", "prompt")
    if not tokens.isdecimal() or not 1 <= int(tokens[:9]) <= MOST_TOKENS:
        raise refused(f"tokens must be from 1 to {MOST_TOKENS}", "tokens")
    # Nothing chosen stands for the default in the first place, and for nothing beside it.
    ways = [look.said("way") or "method:", *([look.said("other")] if look.said("other") else [])]
    requests = [
        Request.of({"prompt": prompt, "max_new_tokens": int(tokens), "stream": True, **_fields(way)})
        for way in ways
    ]
    jobs = await client.enqueue_many(requests)
    address = "&".join(f"job={job.id}" for job in jobs)
    return RedirectResponse(f"{PATH}?{address}", 303, headers=HEADERS)


async def stream(look: Look) -> Any:
    """What is written of one job, as server-sent events."""
    client = look.asking()
    wanted = uuid_of(look.http.path_params["id"], UnknownJobError)
    return await EventStream.begun(_told(client, wanted), HEADERS)


async def rate(look: Look) -> Response:
    """Rate an answer, and go back to it."""
    client = look.asking()
    wanted = uuid_of(look.http.path_params["id"], UnknownAnswerError)
    rating = RATINGS.get(look.said("rating"))
    if rating is None:
        raise refused(f"rating is one of {', '.join(RATINGS)}", "rating")
    await client.rows(RATE, (wanted, rating))
    jobs = [str(uuid_of(one, UnknownJobError)) for one in look.form.get("job", ())[:2]]
    onward = f"{PATH}?{'&'.join(f'job={one}' for one in jobs)}" if jobs else f"/answers/{wanted}"
    return RedirectResponse(onward, 303, headers=HEADERS)


async def _told(client: AsyncClient, wanted: UUID) -> AsyncGenerator[bytes]:
    job = await client.job(wanted)
    async with aclosing(heard([job], None, JOB)) as told:
        async for one in told:
            if one is None:
                yield SILENCE
            elif isinstance(one.said, Asked):
                yield event({"answer_id": str(one.said.answer["answer_id"])})
            else:
                yield event({"piece": one.said})


def _fields(way: str) -> Mapping[str, Any]:
    kind, _, name = way.partition(":")
    if kind not in {"method", "adapter"}:
        raise refused("choose one of the ways to answer that the page has", "way")
    if kind == "adapter":
        return {"method": "own", "adapter": name}
    return {"method": name} if name else {}
