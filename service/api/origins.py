"""Pages of other sites may call the API from a browser, if an operator names them."""

import re
from collections.abc import Sequence
from typing import Any

from starlette.middleware.cors import CORSMiddleware

from loradex.errors import InvalidArgumentError

ANY = "*"
ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:\d{1,5})?")
METHODS = ("DELETE", "GET", "POST")
EXPOSED = (
    *("x-request-id", "x-loradex-answer-id", "x-loradex-job-id", "x-loradex-ignored"),
    *("retry-after", "retry-after-ms", "x-should-retry", "location"),
    *("x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
)
"""Headers of an answer that a page may read."""


def origins_in(told: Sequence[str]) -> list[str]:
    """The origins, as browsers write them.

    Raises:
        InvalidArgumentError: One is none.
    """
    for origin in told:
        if origin != ANY and not ORIGIN.fullmatch(origin):
            raise InvalidArgumentError(
                f"{ascii(origin)[:200]} is no origin: write it as a browser sends it, such as https://app.example.com, "
                "in small letters and without a path, or * for every site"
            )
    return list(told)


def open_to(origins: Sequence[str], application: Any) -> CORSMiddleware:
    """The application, whose answers say to browsers that pages of these origins may read them.

    Cookies are none of it: a page needs a key. Which headers a page sends is not bounded, since clients send their own.
    """
    return CORSMiddleware(
        application,
        allow_origins=origins,
        allow_methods=METHODS,
        allow_headers=[ANY],
        expose_headers=EXPOSED,
    )
