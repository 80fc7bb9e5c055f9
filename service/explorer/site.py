"""The paths of the explorer, and what every request to it passes: who looks, and errors as pages."""

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from loradex.errors import KeyRefusedError, LoradexError
from loradex.service.api.door import log_fault
from loradex.service.api.incoming import bytes_of, key_of
from loradex.service.api.problem import INTERNAL, Problem, problem_of, refused
from loradex.service.explorer import answer, answers, health, library, sweep, what_if
from loradex.service.explorer.edges import KnownEdges
from loradex.service.explorer.entrance import COOKIE, LONGEST_SECRET, SECONDS, Enter, Sessions, Viewer
from loradex.service.explorer.look import Look
from loradex.service.explorer.page import HEADERS, Pages

Page = Callable[[Look], Awaitable[Response]]

HOME = "/answers"
SIGN_IN = "/sign-in"
MOST_BYTES = 4_096
"""Of the form that shows a key."""

FOR_PROGRAMS = (".json", ".csv", ".sql")
INSIDE = re.compile(r"/(?![/\\])[\x21-\x7e]{0,2000}")
"""An address of this site, to go on to."""

PATHS: Sequence[tuple[str, Page]] = (
    ("/answers", answers.page),
    ("/answers.json", answers.as_json),
    ("/answers.csv", answers.as_csv),
    ("/answers.sql", answers.as_sql),
    ("/answers/{id}.json", answer.document),
    ("/answers/{id}", answer.page),
    ("/adapters", library.page),
    ("/health", health.page),
    ("/what-if", sweep.page),
    ("/what-if/{id}", what_if.page),
)


class Explorer:
    """The pages, for those whom `enter` lets in. `secret` is what they show, in words: an API key, or a token."""

    def __init__(self, enter: Enter, secret: str) -> None:
        self._enter = enter
        self._secret = secret
        self._sessions = Sessions()
        self._pages = Pages()
        self._edges = KnownEdges()

    def routes(self) -> list[Route]:
        """What a server adds to its paths."""
        return [
            Route("/", self._home),
            Route("/static/{version}/{name}", self._file),
            Route(SIGN_IN, self._sign_in, methods=["GET", "POST"]),
            Route("/sign-out", self._sign_out, methods=["POST"]),
            *(Route(path, self._let_in(page)) for path, page in PATHS),
        ]

    async def _home(self, _: Request) -> Response:
        return RedirectResponse(HOME, 303, headers=HEADERS)

    async def _file(self, http: Request) -> Response:
        found = self._pages.file(http.path_params["name"])
        return found or Response(status_code=404, headers=HEADERS)

    def _let_in(self, page: Page) -> Callable[[Request], Awaitable[Response]]:
        """The endpoint that shows a page to who may look."""

        async def endpoint(http: Request) -> Response:
            try:
                viewer = await self._viewer(http)
                if viewer is None:
                    onward = quote(f"{http.url.path}?{http.url.query}" if http.url.query else http.url.path)
                    return RedirectResponse(f"{SIGN_IN}?next={onward}", 303, headers=HEADERS)
                return await page(Look(http, viewer, self._pages, self._edges))
            except Problem as problem:
                return self._failed(http, problem)
            except LoradexError as error:
                return self._failed(http, problem_of(error))
            except Exception as error:  # noqa: BLE001 - whatever it is, the reader is told on one page
                log_fault(http, error)
                return self._failed(http, INTERNAL)

        return endpoint

    async def _viewer(self, http: Request) -> Viewer | None:
        """Who shows this cookie, or this key in a header; None where a person should sign in."""
        if "authorization" in http.headers or http.url.path.endswith(FOR_PROGRAMS):
            shown = self._sessions.secret_of(http.cookies.get(COOKIE)) or key_of(http)
            return await self._enter(shown)
        secret = self._sessions.secret_of(http.cookies.get(COOKIE))
        if secret is None:
            return None
        try:
            return await self._enter(secret)
        except KeyRefusedError:  # it was revoked since, or is over
            return None

    def _failed(self, http: Request, problem: Problem) -> Response:
        http.scope["state"]["code"] = problem.code  # for the metrics
        if http.url.path.endswith(FOR_PROGRAMS):
            return JSONResponse(problem.document(), problem.status, headers=HEADERS)
        shown = {"places": (), "here": http.url.path, "everything": False, "problem": problem}
        return self._pages.shown("problem.html", shown, problem.status)

    async def _sign_in(self, http: Request) -> Response:
        """Shows the form, and judges what comes from it. The link that `loradex explore` prints has the token in it."""
        try:
            secret = await self._shown_secret(http)
            if secret is None:
                return self._form(http, None)
            await self._enter(secret)
        except KeyRefusedError as error:
            return self._form(http, str(error), 401)
        except Problem as problem:
            return self._form(http, problem.message, problem.status)
        except LoradexError as error:
            return self._form(http, str(error), problem_of(error).status)
        onward = RedirectResponse(_onward(http), 303, headers=HEADERS)
        onward.set_cookie(
            COOKIE,
            self._sessions.open(secret),
            max_age=int(SECONDS),
            httponly=True,
            samesite="lax",
            secure=_is_elsewhere(http),
        )
        return onward

    async def _shown_secret(self, http: Request) -> str | None:
        if http.method == "GET":
            told: str | None = http.query_params.get("token")
        else:
            _require_own_form(http)
            form = parse_qs((await bytes_of(http, MOST_BYTES)).decode("utf-8", "replace"))
            told = form.get("secret", [""])[0].strip()
        if told is not None and not re.fullmatch(rf"[\x21-\x7e]{{1,{LONGEST_SECRET}}}", told):
            raise KeyRefusedError(f"this cannot be {self._secret}: paste it as it was printed")
        return told

    def _form(self, http: Request, wrong: str | None, status: int = 200) -> Response:
        values = {"secret": self._secret, "wrong": wrong, "onward": _onward(http)}
        return self._pages.shown(
            "sign_in.html", {"places": (), "here": SIGN_IN, "everything": False, **values}, status
        )

    async def _sign_out(self, http: Request) -> Response:
        try:
            _require_own_form(http)
        except Problem as problem:
            return self._failed(http, problem)
        self._sessions.close(http.cookies.get(COOKIE))
        gone = RedirectResponse(SIGN_IN, 303, headers=HEADERS)
        gone.delete_cookie(COOKIE, httponly=True, samesite="lax", secure=_is_elsewhere(http))
        return gone


def _onward(http: Request) -> str:
    told = http.query_params.get("next", HOME)
    return told if INSIDE.fullmatch(told) else HOME


def _require_own_form(http: Request) -> None:
    """Refuse a form that another site sent.

    Raises:
        Problem: It comes from elsewhere.
    """
    origin: Any = http.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != http.headers.get("host"):
        raise refused("this form was sent by another site; open the page and send it from there")


def _is_elsewhere(http: Request) -> bool:
    """Whether it is reached over a network, where a cookie goes through TLS alone."""
    return (http.url.hostname or "") not in {"127.0.0.1", "::1", "localhost"}
