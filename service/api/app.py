"""The paths of the API, and what each does."""

import asyncio
import logging
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, LiteralString

from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse
from starlette.routing import Match, Route

from loradex.errors import LoradexError
from loradex.logs import FIELDS
from loradex.service.api import (
    bodies,
    copies,
    embeddings,
    fields,
    incoming,
    jobs,
    models,
    replays,
    replies,
    what_if,
)
from loradex.service.api.allowance import Allowances
from loradex.service.api.asking import Asked, Asking, hand_in, heard
from loradex.service.api.chat import messages_of
from loradex.service.api.chunks import CHAT, COMPLETION, SILENCE, Chunks, Form
from loradex.service.api.decisions import rankings_of
from loradex.service.api.door import Door, answered, refusal, unless_gone
from loradex.service.api.elsewhere import told_of
from loradex.service.api.event_stream import EventStream
from loradex.service.api.formats import held_to
from loradex.service.api.measures import Measures
from loradex.service.api.openapi import openapi
from loradex.service.api.problem import Problem, refused
from loradex.service.api.readiness import CLOSED, Readiness
from loradex.service.client import AsyncClient, AsyncJob, Request
from loradex.service.client.samples import seed_of_sample

EDGE: LiteralString = "select similarity from loradex.domain_edge(%s)"
EDGE_SECONDS = 600.0
"""How long the edge of the domain is taken for the same; finding it reads a sample of the library."""
EDGE_AGAIN_SECONDS = 5.0
"""After which it is asked for again where Postgres did not tell it."""

LOG = logging.getLogger("loradex.api")
MOST_IGNORED = 20
MOST_LOGGED = 16
"""Ids of jobs in the log's line about a request."""


@dataclass(frozen=True)
class Call:
    """A request of somebody whose key was good.

    Attributes:
        http: The request.
        client: Acts for the owner of the key, in Postgres.
        document: The JSON in the body; None where none is read.
    """

    http: HttpRequest
    client: AsyncClient
    document: Any = None

    @property
    def id(self) -> str:
        """What stands in the path."""
        return str(self.http.path_params["id"])

    @property
    def names(self) -> fields.Names:
        """What its endpoint calls the fields of a job."""
        named: fields.Names = self.http.state.names
        return named

    def note(self, jobs: Sequence[AsyncJob]) -> None:
        """The jobs that it is about, for the log."""
        self.http.state.jobs = [str(job.id) for job in jobs[:MOST_LOGGED]]


Work = Callable[[Call], Awaitable[Any]]


class Api:
    """The endpoints, on one client, whose login is of the role client alone. Closing the API closes the client.

    Its metrics are made on `registry`, and served by whoever made that. `beside` are paths of others that the same
    server has; they count the requests of a key on `allowances` too, and what `asking` is to do for those who left is
    done before the API is closed. Pages of `origins` may call it from a browser.
    """

    def __init__(
        self,
        client: AsyncClient,
        registry: CollectorRegistry | None = None,
        beside: Sequence[Route] = (),
        allowances: Allowances | None = None,
        asking: Asking | None = None,
        *,
        origins: Sequence[str] = (),
    ) -> None:
        self._client = client
        self._origins = origins
        self._beside = beside
        self._registry = CollectorRegistry() if registry is None else registry
        self._allowances = allowances or Allowances(client)
        self._asking = asking or Asking()
        self._readiness = Readiness(client)
        self._known = models.Models()
        self._edges: dict[str, tuple[float, float | None]] = {}
        self._finding = asyncio.Lock()

    def application(self) -> Door:
        """The ASGI application."""
        routes = [*self.routes(), *self._beside]
        paths = Starlette(
            routes=routes,
            exception_handlers={HTTPException: _no_such_path},
            lifespan=self._lifespan,
        )
        paths.router.redirect_slashes = False
        return Door(
            paths,
            Measures(self._registry, {route.endpoint: route.path for route in routes}),
            origins=self._origins,
        )

    def routes(self) -> list[Route]:
        """The paths of the API itself; openapi.py describes each."""
        return [
            Route("/livez", self._livez),
            Route("/readyz", self._readyz),
            Route("/v1/openapi.json", self._openapi),
            *(
                Route(path, self._keyed(work, most, names), methods=["GET" if most is None else "POST"])
                for path, work, most, names in (
                    ("/v1/models", self._models, None, fields.JOB),
                    ("/v1/models/{id:path}", self._model, None, fields.JOB),
                    ("/v1/chat/completions", self._chat, incoming.MOST_BYTES, fields.CHAT),
                    ("/v1/completions", self._completions, incoming.MOST_BYTES, fields.COMPLETION),
                    ("/v1/decisions", self._decisions, incoming.MOST_BYTES, fields.DECISION),
                    ("/v1/embeddings", self._embeddings, incoming.MOST_BYTES, fields.CHAT),
                    ("/v1/jobs", self._hand_in, incoming.MOST_BYTES_OF_JOBS, fields.JOBS),
                    ("/v1/jobs", self._list, None, fields.JOB),
                    ("/v1/jobs/{id}", self._job, None, fields.JOB),
                    ("/v1/answers/{id}", self._answer, None, fields.JOB),
                    ("/v1/answers/{id}/explain", self._explain, None, fields.JOB),
                    ("/v1/answers/{id}/what-if", self._what_if, incoming.MOST_BYTES, fields.JOB),
                )
            ),
            Route("/v1/jobs/{id}", self._keyed(self._cancel, None), methods=["DELETE"]),
            Route("/v1/answers/{id}/replay", self._keyed(self._replay, None), methods=["POST"]),
        ]

    @asynccontextmanager
    async def _lifespan(self, _: object) -> AsyncIterator[None]:
        async with self._client:
            yield
            await self._asking.close()

    def _keyed(
        self, work: Work, most: int | None, names: fields.Names = fields.JOB
    ) -> Callable[[HttpRequest], Awaitable[Any]]:
        """The endpoint that does `work` for the owner of the key, with a body of at most `most` bytes, or none.

        `names` are what it calls the fields of a job.
        """

        async def endpoint(http: HttpRequest) -> Any:
            http.state.names = names
            return await answered(http, self._admitted(http, work, most))

        return endpoint

    async def _admitted(self, http: HttpRequest, work: Work, most: int | None) -> Any:
        """The key is looked at before a body is read, and the body is read before anybody listens for the client's end.

        A key that was good a moment ago is judged with what it asks for, in the same transaction; and by itself where
        that is refused before, so that nobody learns from a key that is none any more what would be wrong with a body.
        """
        key = incoming.key_of(http)
        http.state.place.count_for(key)
        http.state.headers, judged = await self._allowances.counted(key)
        client = self._client.acting_for(key)
        try:
            document = None if most is None else await incoming.body_of(http, most)
            return await unless_gone(http, work(Call(http, client, document)))
        except (Problem, LoradexError):
            if not (judged or client.key_taken):
                await self._allowances.judge(key)
            raise

    async def _livez(self, _: HttpRequest) -> Any:
        return JSONResponse({"status": "live"})

    async def _readyz(self, http: HttpRequest) -> Any:
        reasons = (
            [CLOSED]
            if http.state.closed
            else await self._readiness.reasons(workers=http.query_params.get("workers") != "no")
        )
        return JSONResponse(
            {"status": "not ready" if reasons else "ready", "reasons": reasons}, 503 if reasons else 200
        )

    async def _openapi(self, _: HttpRequest) -> Any:
        return JSONResponse(openapi())

    async def _models(self, call: Call) -> Any:
        cards = [model.card() for model in await models.listed(call.client)]
        return JSONResponse({"object": "list", "data": cards})

    async def _model(self, call: Call) -> Any:
        return JSONResponse((await models.named(call.client, call.id)).card())

    async def _chat(self, call: Call) -> Any:
        body = bodies.shaped(bodies.ChatBody, call.document)
        most = body.max_tokens if body.max_completion_tokens is None else body.max_completion_tokens
        return await self._written(call, body, CHAT, [{"messages": messages_of(body.messages)}], most)

    async def _completions(self, call: Call) -> Any:
        body = bodies.shaped(bodies.CompletionBody, call.document)
        prompts = [body.prompt] if isinstance(body.prompt, str) else body.prompt
        asked = [{"prompt": prompt} for prompt in prompts]
        return await self._written(call, body, COMPLETION, asked, body.max_tokens)

    async def _written(
        self,
        call: Call,
        body: bodies.Writing,
        form: Form,
        prompts: Sequence[Mapping[str, Any]],
        most: int | None,
    ) -> Any:
        samples = body.n or 1
        count = samples * len(prompts)
        if count > bodies.MOST_PROMPTS:
            raise refused(f"n answers to each prompt may be {bodies.MOST_PROMPTS} altogether", "n")
        read = sum(copies.characters_of(text) for prompt in prompts for text in prompt.values())
        copies.require_room(call.http.state.share, read, samples, call.names.called("prompt"))
        said, seconds = bodies.options_of(body)
        theirs = bodies.sampling_of(body)
        held = held_to(body.response_format, body.structured_outputs)
        if "choices" in held and "choices" in said:
            raise refused("structured_outputs has the choices already", "loradex.choices")
        wanted = {
            **held,
            **said,
            "max_new_tokens": most,
            **theirs,
            "logprobs": body.likeliest,
            "metadata": body.metadata,
        }
        if count > 1:
            shared = copies.characters_of_fields(wanted)
            copies.require_room(call.http.state.share, shared, count, None)
        wanted_jobs = [
            {**wanted, **prompt, "seed": seed_of_sample(body.seed, sample)}
            for prompt in prompts
            for sample in range(samples)
        ]
        if body.stream:
            events = self._told(call, body, form, said=said, jobs=wanted_jobs, seconds=seconds)
            return await EventStream.begun(events, _ignored(body))
        model, asked, edge = await self._asked(call, body.model, said, wanted_jobs, seconds)
        written = replies.Written(asked, model, edge, samples)
        return _json(written.chat() if form is CHAT else written.completion(), body, written.headers)

    async def _told(
        self,
        call: Call,
        body: bodies.Writing,
        form: Form,
        *,
        said: Mapping[str, Any],
        jobs: Sequence[Mapping[str, Any]],
        seconds: float | None,
    ) -> AsyncGenerator[bytes]:
        """The events of a stream; closing it before its end is leaving."""
        model, requests, key = await self._requested(call, body.model, said, jobs)
        wanted = [replace(one, stream=True) for one in requests]
        usage = body.stream_options is not None and bool(body.stream_options.include_usage)
        async with self._asking.handed_in(call.client, wanted, key) as made:
            call.note(made)
            chunks = Chunks(form, model, made, body.n or 1, usage=usage)
            async with aclosing(heard(made, seconds, call.names)) as told:
                async for one in told:
                    if one is None:
                        yield SILENCE
                    elif isinstance(one.said, str):
                        yield chunks.piece(one.place, one.said)
                    else:
                        edge = await self._edge_of(call.client, model, said, [one.said])
                        yield chunks.end(one.place, one.said, edge)
            yield chunks.last()

    async def _decisions(self, call: Call) -> Any:
        body = bodies.shaped(bodies.DecisionBody, call.document)
        rankings = rankings_of(body, call.http.state.share)
        said, seconds = bodies.options_of(body)
        if "choices" in said:
            raise refused("the questions have the choices", "loradex.choices")
        shared = copies.characters_of_fields({**said, "metadata": body.metadata})
        copies.require_room(call.http.state.share, shared, len(rankings), None)
        asked_for = [
            {**said, **one.asked, "choices": one.texts, "metadata": body.metadata} for one in rankings
        ]
        model, asked, edge = await self._asked(call, body.model, said, asked_for, seconds)
        read = sum(one.answer["prompt_tokens"] for one in asked)
        chosen = sum(one.answer["output_tokens"] for one in asked)
        document = {
            "object": "decision",
            "created": int(time.time()),
            "model": model.id,
            "answers": [
                ranking.answer(one, model, edge) for ranking, one in zip(rankings, asked, strict=True)
            ],
            "usage": {
                "input_tokens": read,
                "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
                "output_tokens": chosen,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": read + chosen,
            },
        }
        return _json(document, body, {"x-loradex-answer-id": asked[0].answer["answer_id"]})

    async def _asked(
        self,
        call: Call,
        name: str,
        said: Mapping[str, Any],
        jobs: Sequence[Mapping[str, Any]],
        seconds: float | None,
    ) -> tuple[models.Model, list[Asked], float | None]:
        """The model, the answers to these jobs in their order, and the edge of the domain they were judged by."""
        model, requests, key = await self._requested(call, name, said, jobs)
        asked = await self._asking.answers(call.client, requests, key, seconds, call.names)
        call.note([one.job for one in asked])
        return model, asked, await self._edge_of(call.client, model, said, asked)

    async def _requested(
        self, call: Call, name: str, said: Mapping[str, Any], jobs: Sequence[Mapping[str, Any]]
    ) -> tuple[models.Model, list[Request], str | None]:
        """The model, the jobs, and what the client calls this request."""
        key = incoming.idempotency_key_of(call.http)
        found = await self._known.named(call.client, name)
        fields = [found.fields(one, call.names.called) for one in jobs]
        requests = await asyncio.to_thread(_requests_of, fields) if len(jobs) > 1 else _requests_of(fields)
        return await models.with_base(call.client, found, said.get("base_model")), requests, key

    async def _edge_of(
        self, client: AsyncClient, model: models.Model, said: Mapping[str, Any], asked: Sequence[Asked]
    ) -> float | None:
        """The edge that these answers are judged by; None where nothing was routed."""
        routed = any(one.answer["method"] not in replies.UNROUTED for one in asked)
        return await self._edge(client, str(said.get("encoder", model.encoder))) if routed else None

    async def _edge(self, client: AsyncClient, encoder: str) -> float | None:
        """The similarity below which a question is outside of what the library holds; None: it is not known."""
        async with self._finding:
            until, edge = self._edges.get(encoder, (0.0, None))
            if until < time.monotonic():
                lasts = EDGE_SECONDS
                try:
                    found = (await client.rows(EDGE, (encoder,)))[0]["similarity"]
                    # Of a library without examples everything is outside.
                    edge = math.inf if found is None else found
                except LoradexError as error:
                    # It stands beside an answer that is there: what was known before is told with it, or nothing.
                    LOG.warning("edge.unknown", extra={FIELDS: {"code": error.code}})
                    lasts = EDGE_AGAIN_SECONDS
                self._edges[encoder] = time.monotonic() + lasts, edge
            return edge

    async def _hand_in(self, call: Call) -> Any:
        given = bodies.jobs_in(call.document)
        if "jobs" not in call.document:
            call.http.state.names = fields.JOB
        key = incoming.idempotency_key_of(call.http)
        wanted = await jobs.requests_of(call.client, given, call.http.state.names)
        made = await hand_in(call.client, wanted, key)
        place = {"location": f"/v1/jobs/{made[0].id}"} if len(made) == 1 else {}
        document = {"object": "list", "data": [jobs.accepted(one) for one in made]}
        return JSONResponse(document, 202, headers=place)

    async def _list(self, call: Call) -> Any:
        return JSONResponse(await jobs.page_of(call.client, call.http.query_params.multi_items()))

    async def _job(self, call: Call) -> Any:
        job = await call.client.job(call.id)
        return JSONResponse(jobs.whole(await call.client.outcome(job.id)))

    async def _cancel(self, call: Call) -> Any:
        job = await call.client.job(call.id)
        return JSONResponse({"id": str(job.id), "object": "job", "status": await job.cancel()})

    async def _answer(self, call: Call) -> Any:
        found = await call.client.answer(call.id)
        return JSONResponse({"object": "answer", **found.as_dict()})

    async def _explain(self, call: Call) -> Any:
        return JSONResponse(await call.client.explain(call.id))

    async def _what_if(self, call: Call) -> Any:
        body = bodies.exact(what_if.WhatIfBody, call.document)
        return JSONResponse(await what_if.routed_again(call.client, call.id, body))

    async def _replay(self, call: Call) -> Any:
        return JSONResponse(await replays.replayed(call.client, call.id, self._asking))

    async def _embeddings(self, call: Call) -> Any:
        body = bodies.shaped(embeddings.EmbeddingBody, call.document)
        return _json(await embeddings.embedded(call.client, body, self._asking), body, {})


def _json(document: Mapping[str, Any], body: bodies.Tolerant, headers: Mapping[str, str]) -> Any:
    return JSONResponse(document, headers={**headers, **_ignored(body)})


def _ignored(body: bodies.Tolerant) -> dict[str, str]:
    """The fields that were sent and mean nothing here, so that nobody thinks that they did."""
    names = [ascii(name)[1:-1][:50] for name in body.ignored()[:MOST_IGNORED]]
    return {"x-loradex-ignored": ", ".join(names)} if names else {}


async def _no_such_path(request: HttpRequest, error: Exception) -> Any:
    status = getattr(error, "status_code", 404)
    path = ascii(request.url.path)[1:-1][:200]
    if status == 405:  # noqa: PLR2004
        allowed = {"allow": ", ".join(sorted(_methods_of(request)))}
        return refusal(
            request.scope,
            Problem(
                405, "method_not_allowed", f"{path} is not asked for with {request.method}", headers=allowed
            ),
        )
    instead = told_of(request.url.path) or "/v1/models lists what answers"
    return refusal(request.scope, Problem(status, "not_found", f"nothing is at {path}; {instead}"))


def _methods_of(request: HttpRequest) -> set[str]:
    """Of all endpoints at this path; Starlette names those of the first."""
    return {
        method
        for route in request.app.routes
        if route.matches(request.scope)[0] is not Match.NONE
        for method in route.methods
    }


def _requests_of(jobs: Sequence[Mapping[str, Any]]) -> list[Request]:
    """Many, or long ones, are a while of work, and other requests shall not wait for it."""
    return [Request.of(one) for one in jobs]
