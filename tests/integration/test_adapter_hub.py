"""Adapters of the hub and of web servers, from servers that answer as those do."""

import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path

import pytest
import trustme
from tests.fix_adapters import MakeAdapter

from loradex.library.adapter_files import content_hash

COMMIT = "0123456789abcdef0123456789abcdef01234567"
ADOPT = """
import sys
from pathlib import Path
from loradex.errors import LoradexError
from loradex.library.adapter_cache import AdapterCache
from loradex.worker.logs import log_as_json

log_as_json("debug")
cache = AdapterCache(Path(sys.argv[1]), 1 << 30, ("hf://org", "https://"), 0, wait_seconds=0.01)
for url in sys.argv[2:]:
    try:
        place, directory = cache.adopt(url)
        print(place.sha256, cache.locate(str(place)) == directory)
    except LoradexError as error:
        print(error.code, error)
"""


class Quiet(SimpleHTTPRequestHandler):
    """Files below a directory; of a private repository to nobody without the token.

    Nobody may ask for packed bytes. Of a repository that moved it tells the new address, which is signed.
    """

    moved_to = ""

    def do_GET(self) -> None:
        if "gzip" in self.headers.get("Accept-Encoding", ""):
            self.send_error(406)
        elif "/moved/" in self.path:
            self.send_response(302)
            self.send_header("Location", f"{self.moved_to}?signature=secret")
            self.end_headers()
        elif "/broken" in self.path:
            self.send_error(500, explain="what nobody is to know")
        elif "/private/" in self.path and self.headers.get("Authorization") != "Bearer for-tests":
            self.send_error(401)
        else:
            super().do_GET()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(directory: Path, context: ssl.SSLContext | None = None, moved_to: str = "") -> Iterator[int]:
    handler = type("Handler", (Quiet,), {"moved_to": moved_to})
    server = HTTPServer(("127.0.0.1", 0), partial(handler, directory=str(directory)))
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def adopted(cache: Path, environment: dict[str, str], *urls: str) -> list[str]:
    """What a process of its own says, since packages read some of the environment when they are imported.

    Its log is a worker's, of all that Loradex says, and has no address that anything was read from.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "AWS_"))}
    done = subprocess.run(
        [sys.executable, "-c", ADOPT, str(cache), *urls],
        env={**kept, "HF_HOME": str(cache.parent / "hf"), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "127.0.0.1" not in done.stderr, "a library logged where the hub led"
    return done.stdout.splitlines()


def test_an_adapter_of_a_commit_of_the_hub(make_adapter: MakeAdapter, tmp_path: Path) -> None:
    """Its token comes from the environment, and goes to the hub alone."""
    last = make_adapter(f"served/org/name/resolve/{COMMIT}/last", seed=1)
    private = make_adapter(f"served/org/private/resolve/{COMMIT}", seed=2)
    addresses = (f"hf://org/name@{COMMIT}/last", f"hf://org/private@{COMMIT}", f"hf://org/gone@{COMMIT}")
    with serving(tmp_path / "served") as port:
        hub = {"HF_ENDPOINT": f"http://127.0.0.1:{port}"}
        told = adopted(tmp_path / "one", {**hub, "HF_TOKEN": "for-tests"}, *addresses)
        assert told[:2] == [f"{content_hash(directory)} True" for directory in (last, private)]
        assert told[2].startswith("adapter_unavailable ")
        assert "the hub does not give it (404)" in told[2]
        misnamed = f"hf://org/of--two@{COMMIT}"
        refused, wrong = adopted(tmp_path / "two", hub, addresses[1], misnamed)
        assert wrong.startswith(f"adapter_refused {misnamed}: ")
        assert "the hub does not give it (401); for a private one set HF_TOKEN" in refused
        (offline,) = adopted(tmp_path / "three", {**hub, "HF_HUB_OFFLINE": "1"}, addresses[0])
        assert "HF_HUB_OFFLINE is set" in offline


@pytest.fixture
def authority(tmp_path: Path) -> trustme.CA:
    made = trustme.CA()
    made.cert_pem.write_to_path(str(tmp_path / "root.pem"))
    return made


def of_localhost(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    return context


def test_where_the_hub_leads_is_told_to_nobody_and_is_encrypted(
    authority: trustme.CA, tmp_path: Path
) -> None:
    moved = f"hf://org/moved@{COMMIT}"
    trusting = {"SSL_CERT_FILE": str(tmp_path / "root.pem")}
    with serving(tmp_path) as elsewhere:
        place = f"http://127.0.0.1:{elsewhere}/broken"
        with serving(tmp_path, of_localhost(authority), place) as port:
            web = f"https://localhost:{port}"
            told = adopted(
                tmp_path / "one", {**trusting, "HF_ENDPOINT": web}, moved, f"{web}/moved/on", f"{web}/broken"
            )
        with serving(tmp_path, moved_to=place) as port:
            told += adopted(tmp_path / "two", {"HF_ENDPOINT": f"http://127.0.0.1:{port}"}, moved)
    away, web_away, web_broken, broken = told
    assert away.startswith("adapter_refused ")
    assert "the hub leads to http://, which is not encrypted" in away
    assert web_away.startswith("adapter_unavailable ")
    assert web_broken.endswith("status code: 500 Internal Server Error")
    assert broken.endswith("the hub answers with 500")
    assert not any("secret" in one or "nobody" in one for one in told)


@pytest.mark.parametrize("trusted", [True, False])
def test_an_adapter_of_a_web_server_whose_certificate_holds(
    make_adapter: MakeAdapter, authority: trustme.CA, tmp_path: Path, trusted: bool
) -> None:
    directory = make_adapter("served/models/rte")
    trusting = {"SSL_CERT_FILE": str(tmp_path / "root.pem")} if trusted else {}
    with serving(tmp_path / "served", of_localhost(authority)) as port:
        (told,) = adopted(tmp_path / "cache", trusting, f"https://localhost:{port}/models/rte")
    if trusted:
        assert told == f"{content_hash(directory)} True"
    else:
        assert told.startswith("adapter_unavailable ")
