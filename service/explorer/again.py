"""`/answers/{id}/again`: the question of an answer asked again, and both answers beside each other."""

import asyncio
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, LiteralString

from starlette.responses import RedirectResponse, Response

from loradex.errors import UnknownAnswerError, UnknownJobError
from loradex.service.api.problem import refused
from loradex.service.client import Request
from loradex.service.client.calls import uuid_of
from loradex.service.client.request import NOTHING_OF_THE_MODEL
from loradex.service.explorer.differences import differences
from loradex.service.explorer.look import Look
from loradex.service.explorer.page import HEADERS
from loradex.service.explorer.wish import Wish

OF_THE_FIRST = frozenset(
    {"idempotency_key", "metadata", "priority", "deadline", "expected_task", "stream", "seed", "traceparent"}
)
"""Fields of a job that are not what was asked, or that are known better from the answer."""

STORED: LiteralString = """
    select to_jsonb(j) || j.settings as job, a.generation -> 'seed' as seed, a.prompt is null as erased
    from loradex.answers a left join loradex.jobs j on j.id = a.job_id
    where a.id = %s"""
COMPARED: LiteralString = """
    select a.id::text as answer_id, a.prompt, jsonb_array_length(a.messages) - 1 as earlier,
           a.text, j.id::text as job_id, j.state, j.error_code, j.error_message,
           n.id::text as new_id, n.text as new_text, a.text is not distinct from n.text as same_text,
           a.token_ids = n.token_ids as same_tokens, a.recipe_hash = n.recipe_hash as same_mixture,
           a.examples_hash = n.examples_hash and a.example_ids = n.example_ids as same_examples,
           (a.timings ->> 'total')::float8 as milliseconds, (n.timings ->> 'total')::float8 as new_milliseconds,
           (select jsonb_agg(to_jsonb(c) order by c.rank) from loradex.merge_components c where c.answer_id = a.id)
               as mixture,
           (select jsonb_agg(to_jsonb(c) order by c.rank) from loradex.merge_components c where c.answer_id = n.id)
               as new_mixture,
           array(select jsonb_build_object('name', s.name, 'before', s.before, 'after', s.after)
                 from (values ('k', a.k::text, j.k::text), ('top_p', a.top_p::text, j.top_p::text),
                              ('temperature', a.temperature::text, j.temperature::text),
                              ('method', a.method, j.method),
                              ('exclude_tasks', array_to_string(a.exclude_tasks, ', '),
                               array_to_string(j.exclude_tasks, ', ')),
                              ('exclude_adapters', array_to_string(a.exclude_adapters, ', '),
                               array_to_string(j.exclude_adapters, ', '))) s(name, before, after)
                 where s.before <> s.after) as changed
    from loradex.answers a
    join loradex.jobs j on j.id = %(job)s
    left join loradex.answers n on n.id = j.answer_id
    where a.id = %(answer)s"""


async def page(look: Look) -> Response:
    """The page: both answers once the new one is there, and until then as far as it is written."""
    look.asking()
    answer = uuid_of(look.http.path_params["id"], UnknownAnswerError)
    job = look.http.query_params.get("job")
    if not job:
        return RedirectResponse(f"/answers/{answer}", 303, headers=HEADERS)
    found = await look.source.rows(COMPARED, {"answer": answer, "job": uuid_of(job, UnknownJobError)})
    if not found:
        raise UnknownAnswerError(
            f"no answer {answer} and job {job[:60]} of yours; open the answer and ask again"
        )
    (told,) = found
    texts = (told["text"], told["new_text"])
    return look.page(
        "again.html",
        {
            "told": told,
            "parts": await asyncio.to_thread(differences, *texts) if None not in texts else None,
            "here_again": f"{look.http.url.path}?job={told['job_id']}",
        },
    )


async def ask(look: Look) -> Response:
    """Hand the question in again, with the key of whoever looks, and go to where both answers are read."""
    client = look.asking()
    wish = Wish.of([(name, value) for name, values in look.form.items() for value in values])
    answer = uuid_of(look.http.path_params["id"], UnknownAnswerError)
    found = await client.rows(STORED, (answer,))
    if not found:
        raise UnknownAnswerError(f"no answer {answer}, or it is another user's; choose one of the answers")
    (stored,) = found
    if stored["erased"] or stored["job"] is None:
        raise refused("the question of this answer was erased, so it cannot be asked again")
    (job,) = await client.enqueue_many([Request.of(asked_again(stored["job"], stored["seed"], wish))])
    return RedirectResponse(f"/answers/{answer}/again?job={job.id}", 303, headers=HEADERS)


def asked_again(job: Mapping[str, Any], seed: int | None, wish: Wish) -> dict[str, Any]:
    """The fields of a job like this one (columns and settings), but for what is wished."""
    told = {
        one.name: job[one.name]
        for one in fields(Request)
        if one.name not in OF_THE_FIRST and job.get(one.name) is not None
    }
    if "messages" in told:
        del told["prompt"]
    told |= {"seed": seed, "stream": job["kind"] == "generate"}
    if told["stream"]:
        # The model may have got defaults since.
        told = {**NOTHING_OF_THE_MODEL, **told}
    for name in ("k", "top_p", "temperature", "method", "exclude_tasks", "exclude_adapters"):
        if getattr(wish, name) is not None:
            told[name] = getattr(wish, name)
    if told["method"] != job["method"]:
        told.pop("adapter", None)
    return told
