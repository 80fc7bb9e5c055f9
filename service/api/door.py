"""What every request passes: its id, limits of how much is under way, one line in the log, errors in one envelope."""

import asyncio
import logging
import re
import traceback
from collections.abc import Awaitable, Callable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from loradex.errors import LoradexError
from loradex.logs import FIELDS
from loradex.service.api.fields import CHAT
from loradex.service.api.measures import LEFT, Measured, Measures
from loradex.service.api.origins import open_to
from loradex.service.api.places import PROBES, Places
from loradex.service.api.problem import INTERNAL, SERVER, SHUTTING_DOWN, Problem, problem_of
from loradex.service.api.room import Room
from loradex.tracing import current_traceparent, trace_id_of, traceparent_in, within

ID = re.compile(r"[\w.:-]{1,128}", re.ASCII)
API = "/v1/"
"""What the paths of programs begin with; the others are probes, and pages."""

LOG = logging.getLogger("loradex.api")

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


class Door:
    """The application behind it, with an id for each request. Plain ASGI, so that nothing is buffered on the way."""

    def __init__(
        self,
        application: Application,
        measures: Measures,
        places: Places | None = None,
        origins: Sequence[str] = (),
    ) -> None:
        self._application = application
        self._api = open_to(origins, self._placed) if origins else self._placed
        self._measures = measures
        self._places = places or Places()
        self._room = Room()
        self._ending = asyncio.Event()

    def close(self) -> asyncio.Event:
        """New requests are refused from now on, and `/readyz` says so; what happens when all others are answered."""
        return self._places.close()

    def end(self) -> None:
        """Whatever is under way ends now with an error: there is no more time for it."""
        self._ending.set()

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        number = _id_in(scope)
        # Some clients send /v1//models, some /v1/models/, and a redirection would name http:// behind a proxy.
        scope["path"] = re.sub(r"/{2,}", "/", scope["path"]).removesuffix("/") or "/"
        share, place = self._room.share(), self._places.place()
        scope.setdefault("state", {}).update(
            request_id=number,
            ending=self._ending,
            closed=self._places.closed is not None,
            share=share,
            place=place,
        )

        async def answer(message: Message) -> None:
            measured.sent(message)
            if message["type"] == "http.response.start":
                more = {"x-request-id": number, **scope["state"].get("headers", {})}
                message["headers"] = [
                    *message.get("headers", ()),
                    *((name.encode(), value.encode()) for name, value in more.items()),
                ]
            await send(message)

        with self._measures.request(scope) as measured, _traced(scope, measured):
            try:
                asked = self._api if scope["path"].startswith(API) else self._placed
                await asked(scope, receive, answer)
            finally:
                place.give_back()
                share.give_back()
                LOG.info("request.answered", extra={FIELDS: _told(scope, measured)})

    async def _placed(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """The application's answer, if there is a place for it."""
        try:
            if scope["path"] not in PROBES:
                scope["state"]["place"].take()
        except Problem as problem:
            await refusal(scope, problem)(scope, receive, send)
        else:
            await self._application(scope, receive, send)


@contextmanager
def _traced(scope: MutableMapping[str, Any], measured: Measured) -> Iterator[None]:
    """A span of a request to the API, in the trace that the client says it is in. Probes and pages have none."""
    if not scope["path"].startswith(API):
        yield
        return
    asking = traceparent_in(_header(scope, b"traceparent"))
    with within(asking, scope["method"]) as now:
        scope["state"]["trace"] = trace_id_of(current_traceparent())
        try:
            yield
        finally:
            told = _told(scope, measured)
            now.name = f"{scope['method']} {measured.route}"
            now.attributes |= {
                "http.request.method": scope["method"],
                "http.route": measured.route,
                "http.response.status_code": told["status"],
                "loradex.request_id": told["request"],
            }
            now.error, now.failed = told["code"], told["status"] >= SERVER


def _told(scope: MutableMapping[str, Any], measured: Measured) -> dict[str, Any]:
    """What the log says of a request: nothing of who asked, and nothing that was asked."""
    return {
        "request": scope["state"]["request_id"],
        "method": scope["method"],
        "path": ascii(scope["path"])[1:200].rstrip("'"),
        "status": measured.status or LEFT,
        "code": scope["state"].get("code"),
        "milliseconds": round(1000 * measured.seconds),
        **{name: scope["state"][name] for name in ("trace", "jobs") if scope["state"].get(name)},
    }


def response_of(problem: Problem) -> Any:
    return JSONResponse(problem.document(), problem.status, dict(problem.headers))


def refusal(scope: MutableMapping[str, Any], problem: Problem) -> Any:
    """The response, after the metrics were told its code."""
    scope["state"]["code"] = problem.code
    return response_of(problem)


async def answered(
    request: Request,
    work: Awaitable[Any],
    told: Callable[[MutableMapping[str, Any], Problem], Any] = refusal,
) -> Any:
    """The response that `work` makes, or what `told` makes of its error: by itself the envelope.

    What was raised here by mistake is logged by its type and place alone, since its text may hold a prompt.
    """
    try:
        return await work
    except Problem as problem:
        return told(request.scope, problem)
    except LoradexError as error:
        return told(request.scope, problem_in(request, error))
    except ClientDisconnect:  # while its body was read
        return Response(status_code=LEFT)
    except Exception as error:  # noqa: BLE001 - whatever it is, the client is told
        log_fault(request, error)
        return told(request.scope, INTERNAL)


def problem_in(request: Request, error: LoradexError) -> Problem:
    """What the client is told of an error, in the words of the endpoint that it asked."""
    return problem_of(error, getattr(request.state, "names", CHAT))


def log_fault(request: Request, error: Exception) -> None:
    """One entry about what went wrong here by mistake: its type and place."""
    LOG.error(
        "request.failed",
        extra={
            FIELDS: {
                "request": request.state.request_id,
                "exception": type(error).__name__,
                "place": "".join(traceback.format_tb(error.__traceback__)),
            }
        },
    )


async def unless_gone(request: Request, work: Awaitable[Any]) -> Any:
    """The response that `work` makes; if the client leaves before, `work` is cancelled. The body was read before.

    Raises:
        Problem: The server ends before; `work` is cancelled then too.
    """
    working, gone = asyncio.ensure_future(work), asyncio.create_task(_gone(request))
    ending = asyncio.create_task(request.state.ending.wait())
    try:
        await asyncio.wait({working, gone, ending}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        if ending.done():
            raise SHUTTING_DOWN
        return Response(status_code=LEFT)
    finally:
        for one in (working, gone, ending):
            one.cancel()
        # Whoever has a response does not wait until nobody listens for its client's end any more.
        if not working.done():
            await asyncio.gather(working, return_exceptions=True)


async def _gone(request: Request) -> None:
    """Until the client has left. Nothing else comes once the body was read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _id_in(scope: MutableMapping[str, Any]) -> str:
    """The client's own name for its request, or a new one."""
    told = _header(scope, b"x-request-id")
    return told if told is not None and ID.fullmatch(told) else f"req_{uuid4().hex}"


def _header(scope: MutableMapping[str, Any], wanted: bytes) -> str | None:
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == wanted), None)
