"""Who offers another protocol beside a request gets the answer to the request: its body is read."""

import socket
import subprocess
import time
from collections.abc import Iterator

import pytest

pytest.importorskip("httptools", reason="of the extra serve")

from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from tests.needs import program
from tests.serving import serving

from loradex.service.api.door import Door
from loradex.service.api.measures import Measures

H2C = "connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n"
WEBSOCKET = (
    "connection: Upgrade\r\nupgrade: websocket\r\n"
    "sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
LENGTH = "content-length: 5\r\n\r\n"
CHUNKED = "transfer-encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    async def echo(request: Request) -> PlainTextResponse:
        body = (await request.body()).decode()
        return PlainTextResponse(f"<{request.method} {request.headers.get('x-mine')} {body}>")

    routes = [Route("/", echo, methods=["GET", "POST"])]
    with serving(lambda: Door(Starlette(routes=routes), Measures(CollectorRegistry(), {}))) as address:
        yield address


def told(url: str, *parts: bytes, answers: int = 1) -> list[str]:
    """What is answered when these parts come one after another: the status and the body of each."""
    host, port = url.removeprefix("http://").split(":")
    heard = b""
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for part in parts:
            connection.sendall(part)
            time.sleep(0.02)  # so that the next one comes by itself
        while heard.count(b"HTTP/1.1") < answers or not heard.endswith(b">"):
            heard += (part := connection.recv(4096))
            if not part:
                break
    return [f"{one.split()[0]} {one.partition('<')[2]}" for one in heard.decode().split("HTTP/1.1")[1:]]


def asked(offer: str, end: str, mine: str = "a") -> bytes:
    return f"POST / HTTP/1.1\r\nhost: api.test\r\nx-mine: {mine}\r\n{offer}{end}".encode()


@pytest.mark.parametrize("offer", [H2C, H2C.title(), WEBSOCKET], ids=["h2c", "H2C", "websocket"])
@pytest.mark.parametrize(
    ("end", "body"),
    [(LENGTH, b"hello"), (CHUNKED, b"5\r\nhello\r\n0\r\n\r\n")],
    ids=["length", "chunked"],
)
def test_a_body_behind_an_offer_is_read(url: str, offer: str, end: str, body: bytes) -> None:
    head = asked(offer, end)
    answer = ["200 POST a hello>"]
    assert told(url, head + body) == answer
    assert told(url, head, body) == answer
    assert told(url, head, body[:2], body[2:]) == answer
    assert told(url, *(head[at : at + 40] for at in range(0, len(head), 40)), body) == answer
    assert told(url, head[:-1], head[-1:] + body) == answer


def test_requests_behind_each_other_are_told_apart(url: str) -> None:
    """Whether they come at once or not, a body is never taken for a head."""
    plain = asked("", LENGTH, "c") + b"third"
    inner = b"GET / HTTP/1.0\r\nhost: x\r\n" + H2C.encode() + b"\r\n"
    end = f"content-length: {len(inner)}\r\n\r\n"
    sent = asked(H2C, LENGTH, "a") + b"first", asked(H2C, end, "b") + inner, plain
    answers = ["200 POST a first>", f"200 POST b {inner.decode()}>", "200 POST c third>"]
    assert told(url, *sent, answers=3) == answers
    assert told(url, b"".join(sent), answers=3) == answers
    bare = (f"GET / HTTP/1.1\r\nhost: x\r\n{H2C}\r\n".encode()) * 50
    assert told(url, bare, answers=50) == ["200 GET None >"] * 50


def test_a_tunnel_is_no_request(url: str) -> None:
    (answer,) = told(
        url, b"CONNECT api.test:1 HTTP/1.1\r\nhost: api.test:1\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"
    )
    assert answer.startswith("400")


def test_curl_that_offers_http_2_is_answered(url: str) -> None:
    asked_by = [program("curl"), "--silent", "--http2", "--max-time", "20", "--data", "hello", url]
    assert subprocess.run(asked_by, capture_output=True, text=True, check=True).stdout == "<POST None hello>"
