"""A response of server-sent events, whose first one is known before anything is sent."""

from collections.abc import AsyncGenerator, Mapping, MutableMapping
from contextlib import aclosing
from typing import Any

from starlette.requests import Request

from loradex.errors import LoradexError
from loradex.service.api.chunks import broken_off
from loradex.service.api.door import Receive, Send, log_fault, problem_in, unless_gone
from loradex.service.api.problem import INTERNAL, Problem

HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",
}


class EventStream:
    """Sends events as they come. An error before the first one has a status; a later one is the last event.

    The events are left as soon as the client leaves, or the server ends.
    """

    def __init__(self, first: bytes, rest: AsyncGenerator[bytes], headers: Mapping[str, str]) -> None:
        self._first = first
        self._rest = rest
        self._headers = HEADERS | dict(headers)

    @classmethod
    async def begun(cls, events: AsyncGenerator[bytes], headers: Mapping[str, str]) -> "EventStream":
        """The response, once there is a first event. Raises what the events raise before."""
        return cls(await anext(events), events, headers)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        async with aclosing(self._rest):
            try:
                await unless_gone(request, self._sent(request, send))
            except Problem as problem:
                await _send_last(send, self._last(request, problem))

    async def _sent(self, request: Request, send: Send) -> None:
        raw = [(name.encode(), value.encode("latin-1")) for name, value in self._headers.items()]
        await send({"type": "http.response.start", "status": 200, "headers": raw})
        await send({"type": "http.response.body", "body": self._first, "more_body": True})
        try:
            async for event in self._rest:
                await send({"type": "http.response.body", "body": event, "more_body": True})
        except (Problem, LoradexError) as error:
            problem = error if isinstance(error, Problem) else problem_in(request, error)
            last = self._last(request, problem)
        except Exception as error:  # noqa: BLE001 - whatever it is, the client is told
            log_fault(request, error)
            last = self._last(request, INTERNAL)
        else:
            last = b""
        await _send_last(send, last)

    def _last(self, request: Request, problem: Problem) -> bytes:
        request.state.code = problem.code
        return broken_off(problem)


async def _send_last(send: Send, event: bytes) -> None:
    await send({"type": "http.response.body", "body": event, "more_body": False})
