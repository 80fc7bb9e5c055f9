"""The key and the body of a request, both bounded before anything is done with them."""

import asyncio
import re
from typing import Any

from starlette.requests import Request

from loradex.service.api.bodies import parsed
from loradex.service.api.problem import NO_KEY, Problem, refused

MOST_BYTES = 4 << 20
MOST_BYTES_OF_JOBS = 32 << 20
LARGE = 1 << 18
"""Bytes from which on a body is parsed in a thread, since others shall not wait for it."""

BODY_SECONDS = 60.0
KEY = re.compile(r"lx_[A-Za-z0-9_-]{43}")
LONGEST_IDEMPOTENCY_KEY = 190
"""Of 200 that a job's may have: of several jobs of one request the others have their number and how many behind it."""


def key_of(request: Request) -> str:
    """The API key that is shown; whether it is one, Postgres decides.

    Raises:
        Problem: There is none, or it cannot be one.
    """
    kind, _, key = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "bearer" or not KEY.fullmatch(key.strip()):
        raise NO_KEY
    return str(key.strip())


def idempotency_key_of(request: Request) -> str | None:
    """What the client calls this request, so that it may be sent again.

    Raises:
        Problem: It is too long, or holds other signs than can be seen.
    """
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    if not re.fullmatch(rf"[\x21-\x7e]{{1,{LONGEST_IDEMPOTENCY_KEY}}}", key):
        raise refused(
            f"Idempotency-Key must have 1 to {LONGEST_IDEMPOTENCY_KEY} signs of ASCII without blanks",
            "Idempotency-Key",
        )
    return str(key)


async def body_of(request: Request, most: int) -> Any:
    """The JSON document in the body, of at most `most` bytes.

    Raises:
        Problem: It is too large, comes too slowly, has no room now, or is no JSON.
    """
    raw = await bytes_of(request, most)
    return await asyncio.to_thread(parsed, raw) if len(raw) > LARGE else parsed(raw)


async def bytes_of(request: Request, most: int) -> bytes:
    """The body, of at most `most` bytes.

    Raises:
        Problem: It is too large, comes too slowly, or there is no room for it now.
    """
    told = request.headers.get("content-length", "")
    if told.isdigit() and int(told) > most:
        raise _too_large(most)
    raw = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.stream():
                raw += part
                if len(raw) > most:
                    raise _too_large(most)
                request.state.share.hold(len(raw))
    except TimeoutError:
        raise Problem(
            408, "body_timeout", f"the body did not come within {BODY_SECONDS:g} s; send it again"
        ) from None
    return bytes(raw)


def _too_large(most: int) -> Problem:
    return Problem(
        413, "request_too_large", f"the body may have {most} bytes; send less, or several requests"
    )
