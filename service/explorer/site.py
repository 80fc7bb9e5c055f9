"""The paths of the explorer, and what every request to it passes: who looks, and errors as pages."""

import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any
from urllib.parse import parse_qs, quote

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from loradex.errors import KeyRefusedError, LoradexError
from loradex.service.api.asking import Asking
from loradex.service.api.door import answered, unless_gone
from loradex.service.api.incoming import bytes_of, key_of
from loradex.service.api.places import NOBODY
from loradex.service.api.problem import Problem, problem_of, refused
from loradex.service.explorer import (
    again,
    answer,
    answers,
    example_map,
    health,
    library,
    playground,
    replay,
    retirement,
    sweep,
    what_if,
)
from loradex.service.explorer.edges import KnownEdges
from loradex.service.explorer.entrance import LONGEST_SECRET, SECONDS, Entrance, Sessions, Viewer
from loradex.service.explorer.look import Look
from loradex.service.explorer.page import HEADERS, Pages
from loradex.service.explorer.wish import MOST_NAMES

Page = Callable[[Look], Awaitable[Response]]

HOME = "/answers"
SIGN_IN = "/sign-in"
MOST_BYTES = 4_096
"""Of the form that shows a key."""

MOST_BYTES_OF_A_QUESTION = 1 << 20
MOST_FIELDS = MOST_NAMES + 20
FOR_PROGRAMS = (".json", ".csv", ".sql")
UNSENT = "unsent"
"""In the address of the form that lets in: a form was sent by somebody whom nobody knew any more, and is lost."""

OF_A_FORM = re.compile(r"/(rating|again|replay)$")
"""What the address of a form has behind that of the page it is on."""

INSIDE = re.compile(r"/(?![/\\])[\x21-\x7e]{0,2000}")
"""An address of this site, to go on to."""

PATHS: Sequence[tuple[str, Page]] = (
    ("/answers", answers.page),
    ("/answers.json", answers.as_json),
    ("/answers.csv", answers.as_csv),
    ("/answers.sql", answers.as_sql),
    ("/answers/{id}.json", answer.document),
    ("/answers/{id}", answer.page),
    ("/answers/{id}/again", again.page),
    ("/answers/{id}/replay", replay.page),
    ("/adapters", library.page),
    ("/adapters/{name:path}", retirement.page),
    ("/health", health.page),
    ("/what-if", sweep.page),
    ("/what-if/{id}", what_if.page),
    ("/map", example_map.page),
    ("/map.bin", example_map.points),
    ("/playground", playground.page),
    ("/playground/{id}/stream", playground.stream),
)
FORMS: Sequence[tuple[str, Page]] = (
    ("/playground", playground.ask),
    ("/answers/{id}/rating", playground.rate),
    ("/answers/{id}/again", again.ask),
    ("/answers/{id}/replay", replay.ask),
)
"""Where forms are sent."""


class Explorer:
    """The pages, for those who come in by this entrance. What `errands` are left to do, whoever made them waits for."""

    def __init__(self, entrance: Entrance, errands: Asking | None = None) -> None:
        self._entrance = entrance
        self._sessions = Sessions()
        self._pages = Pages()
        self._edges = KnownEdges()
        self._errands = errands or Asking()

    def routes(self) -> list[Route]:
        """What a server adds to its paths."""
        return [
            Route("/", self._home),
            Route("/static/{version}/{name}", self._file),
            Route(SIGN_IN, self._sign_in, methods=["GET", "POST"]),
            Route("/sign-out", self._sign_out, methods=["POST"]),
            *(Route(path, self._let_in(page)) for path, page in PATHS),
            *(Route(path, self._let_in(page), methods=["POST"]) for path, page in FORMS),
        ]

    async def _home(self, _: Request) -> Response:
        return RedirectResponse(HOME, 303, headers=HEADERS)

    async def _file(self, http: Request) -> Response:
        found = self._pages.file(http.path_params["version"], http.path_params["name"])
        return found or Response(status_code=404, headers=HEADERS)

    def _let_in(self, page: Page) -> Callable[[Request], Awaitable[Response]]:
        """The endpoint that shows a page to who may look."""

        async def endpoint(http: Request) -> Response:
            return await answered(http, self._page(http, page), self._failed)

        return endpoint

    async def _page(self, http: Request, page: Page) -> Response:
        viewer = await self._viewer(http)
        if viewer is None:
            return RedirectResponse(_sign_in_and_back(http), 303, headers=HEADERS)
        http.state.headers = viewer.headers
        form = await _form_of(http) if http.method == "POST" else {}
        return await unless_gone(
            http, page(Look(http, viewer, self._pages, self._edges, self._errands, form))
        )

    async def _viewer(self, http: Request) -> Viewer | None:
        """Who shows this key in a header, otherwise this cookie; None where a person should sign in."""
        if http.headers.get("authorization", "").lower().startswith("bearer "):
            return await self._entered(http, key_of(http))
        secret = self._sessions.secret_of(http.cookies.get(self._entrance.cookie))
        if http.url.path.endswith(FOR_PROGRAMS):
            return await self._entered(http, secret or key_of(http))
        if secret is None:
            return None
        try:
            return await self._entered(http, secret)
        except KeyRefusedError:  # it was revoked since, or is over
            return None

    async def _entered(self, http: Request, secret: str) -> Viewer:
        """Who shows this; the request counts among those that are under way for it."""
        http.state.place.count_for(secret)
        return await self._entrance.enter(secret)

    def _failed(self, scope: MutableMapping[str, Any], problem: Problem) -> Response:
        scope["state"]["code"] = problem.code  # for the metrics
        if scope["path"].endswith(FOR_PROGRAMS):
            return JSONResponse(problem.document(), problem.status, headers={**HEADERS, **problem.headers})
        shown = {"places": (), "here": scope["path"], "everything": False, "problem": problem}
        return self._pages.shown("problem.html", shown, problem.status, problem.headers)

    async def _sign_in(self, http: Request) -> Response:
        return await answered(http, self._judged(http), self._failed)

    async def _judged(self, http: Request) -> Response:
        """The form, or what comes of what it says. The link that `loradex explore` prints has the token in it."""
        try:
            secret = await self._shown_secret(http)
            if secret is None:
                return self._form(http, None)
            await self._entered(http, secret)
        except KeyRefusedError as error:
            return self._form(http, str(error), 401)
        except Problem as problem:
            return self._form(http, problem.message, problem.status)
        except LoradexError as error:
            return self._form(http, str(error), problem_of(error).status)
        self._sessions.close(http.cookies.get(self._entrance.cookie))
        onward = RedirectResponse(_onward(http), 303, headers=HEADERS)
        onward.set_cookie(
            self._entrance.cookie,
            self._sessions.open(secret),
            max_age=int(SECONDS),
            httponly=True,
            samesite="lax",
            secure=_is_elsewhere(http),
        )
        return onward

    async def _shown_secret(self, http: Request) -> str | None:
        told: str | None = None
        if http.method == "POST":
            _require_own_form(http)
            _require_a_cookie_can_be_kept(http)
            http.state.place.count_for(NOBODY)
            form = parse_qs((await bytes_of(http, MOST_BYTES)).decode("utf-8", "replace"))
            told = form.get("secret", [""])[0].strip()
        elif self._entrance.by_link:
            told = http.query_params.get("token")
        if told is not None and not re.fullmatch(rf"[\x21-\x7e]{{1,{LONGEST_SECRET}}}", told):
            raise KeyRefusedError(f"this cannot be {self._entrance.secret}: paste it as it was printed")
        return told

    def _form(self, http: Request, wrong: str | None, status: int = 200) -> Response:
        values = {
            "secret": self._entrance.secret,
            "wrong": wrong,
            "onward": _onward(http),
            "unsent": UNSENT in http.query_params,
        }
        return self._pages.shown(
            "sign_in.html", {"places": (), "here": SIGN_IN, "everything": False, **values}, status
        )

    async def _sign_out(self, http: Request) -> Response:
        try:
            _require_own_form(http)
        except Problem as problem:
            return self._failed(http.scope, problem)
        self._sessions.close(http.cookies.get(self._entrance.cookie))
        gone = RedirectResponse(SIGN_IN, 303, headers=HEADERS)
        gone.delete_cookie(self._entrance.cookie, httponly=True, samesite="lax", secure=_is_elsewhere(http))
        return gone


def _onward(http: Request) -> str:
    told = http.query_params.get("next", HOME)
    return told if INSIDE.fullmatch(told) else HOME


def _sign_in_and_back(http: Request) -> str:
    """The form that lets in, and leads on to this page; after a form that was sent, to the page that has it."""
    if http.method != "POST":
        here = f"{http.url.path}?{http.url.query}" if http.url.query else http.url.path
        return f"{SIGN_IN}?next={quote(here)}"
    return f"{SIGN_IN}?next={quote(OF_A_FORM.sub('', http.url.path))}&{UNSENT}=1"


async def _form_of(http: Request) -> Mapping[str, Sequence[str]]:
    """What a form of this site says.

    Raises:
        Problem: It comes from elsewhere, or is too large.
    """
    _require_own_form(http)
    raw = await bytes_of(http, MOST_BYTES_OF_A_QUESTION)
    try:
        return parse_qs(raw.decode(), keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS)
    except ValueError:
        raise refused("this is no form of these pages") from None


def _require_own_form(http: Request) -> None:
    """Refuse a form that another site sent.

    Raises:
        Problem: It comes from elsewhere.
    """
    origin = http.headers.get("origin")
    if origin is not None and origin.partition("://")[2] != http.headers.get("host"):
        raise refused("this form was sent by another site; open the page and send it from there")


def _require_a_cookie_can_be_kept(http: Request) -> None:
    """Refuse who signs in from a page without TLS over a network: browsers drop the cookie, and would ask again.

    Raises:
        Problem: The form came from such a page.
    """
    if _is_elsewhere(http) and http.headers.get("origin", "").startswith("http://"):
        raise refused(
            "without TLS a browser does not keep who signed in: open this site over https, or through a tunnel to "
            "localhost (`ssh -L`)"
        )


def _is_elsewhere(http: Request) -> bool:
    """Whether it is reached over a network, where a cookie goes through TLS alone."""
    return (http.url.hostname or "") not in {"127.0.0.1", "::1", "localhost"}
