"""Browsers let pages of other sites call the API where an operator named the site, and nowhere else."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import httpx2
import pytest

pytest.importorskip("uvicorn", reason="of the extra serve")

from tests.serving import serving

from loradex.errors import InvalidArgumentError
from loradex.service.api.origins import origins_in
from loradex.service.api.server import application
from loradex.service.client import AsyncClient

APP, OTHER = "https://app.example.com", "https://other.example.com"
CHAT, MODELS = "/v1/chat/completions", "/v1/models"
ASKED = {
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization, content-type, x-stainless-lang",
}


class Servers:
    """Servers, each open to its origins; Postgres is away, so what needs no key is answered."""

    def __init__(self, running: ExitStack) -> None:
        self._running = running

    def open_to(self, *origins: str) -> str:
        def make() -> object:
            nowhere = AsyncClient("postgresql://nobody:x@127.0.0.1:9/none", "redis://127.0.0.1:9/0")
            return application(nowhere, origins=origins)

        return self._running.enter_context(serving(make))


@pytest.fixture
def servers() -> Iterator[Servers]:
    with ExitStack() as running:
        yield Servers(running)


def asked(url: str, path: str, origin: str, method: str = "GET", **more: str) -> httpx2.Response:
    return httpx2.request(method, url + path, headers={"origin": origin, **more}, timeout=30)


def allowed(response: httpx2.Response) -> str | None:
    found: str | None = response.headers.get("access-control-allow-origin")
    return found


def test_by_itself_no_site_may(servers: Servers) -> None:
    url = servers.open_to()
    assert asked(url, CHAT, APP, "OPTIONS", **ASKED).status_code == 405
    assert allowed(asked(url, MODELS, APP)) is None


def test_a_site_that_was_named_may(servers: Servers) -> None:
    url = servers.open_to(OTHER, APP)
    before = asked(url, CHAT, APP, "OPTIONS", **ASKED)
    assert (before.status_code, allowed(before)) == (200, APP)
    assert "POST" in before.headers["access-control-allow-methods"]
    assert "authorization" in before.headers["access-control-allow-headers"]
    assert before.headers["x-request-id"]
    answer = asked(url, MODELS, APP)
    assert (answer.status_code, allowed(answer)) == (401, APP)
    exposed = answer.headers["access-control-expose-headers"].split(", ")
    assert {"x-request-id", "x-loradex-answer-id", "retry-after"} <= set(exposed)
    assert "access-control-allow-credentials" not in answer.headers
    assert allowed(asked(url, "/v1/openapi.json", APP)) == APP


def test_another_site_may_not_and_pages_are_nobodys(servers: Servers) -> None:
    url = servers.open_to(APP)
    assert asked(url, CHAT, "https://app.example.com.evil.example", "OPTIONS", **ASKED).status_code == 400
    assert allowed(asked(url, MODELS, OTHER)) is None
    for path in ("/livez", "/sign-in", "/answers"):
        assert allowed(asked(url, path, APP)) is None


def test_every_site_may_where_that_is_said(servers: Servers) -> None:
    assert allowed(asked(servers.open_to("*"), MODELS, OTHER)) == "*"


@pytest.mark.parametrize(
    "told", [["https://app.example.com/"], ["app.example.com"], ["https://App.example.com"], ["x y"], [""]]
)
def test_what_is_no_origin_is_refused(told: Sequence[str]) -> None:
    with pytest.raises(InvalidArgumentError, match="is no origin: write it as a browser sends it"):
        origins_in([APP, *told])


def test_origins_are_taken_as_they_are() -> None:
    told = [APP, "http://127.0.0.1:5173", "http://[::1]:80", "tauri://localhost", "*"]
    assert origins_in(told) == told
