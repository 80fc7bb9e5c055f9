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

cache = AdapterCache(Path(sys.argv[1]), 1 << 30, ("hf://org", "https://"), 0, wait_seconds=0.01)
for url in sys.argv[2:]:
    try:
        place, directory = cache.adopt(url)
        print(place.sha256, cache.locate(str(place)) == directory)
    except LoradexError as error:
        print(error.code, error)
"""


class Quiet(SimpleHTTPRequestHandler):
    """Files below a directory; of a private repository to nobody without the token."""

    def do_GET(self) -> None:
        if "/private/" in self.path and self.headers.get("Authorization") != "Bearer for-tests":
            self.send_error(401)
        else:
            super().do_GET()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(directory: Path, context: ssl.SSLContext | None = None) -> Iterator[int]:
    server = HTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(directory)))
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def adopted(cache: Path, environment: dict[str, str], *urls: str) -> list[str]:
    """What a process of its own says, since packages read some of the environment when they are imported."""
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
        (refused,) = adopted(tmp_path / "two", hub, addresses[1])
        assert "the hub does not give it (401); for a private one set HF_TOKEN" in refused
        (offline,) = adopted(tmp_path / "three", {**hub, "HF_HUB_OFFLINE": "1"}, addresses[0])
        assert "HF_HUB_OFFLINE is set" in offline


@pytest.mark.parametrize("trusted", [True, False])
def test_an_adapter_of_a_web_server_whose_certificate_holds(
    make_adapter: MakeAdapter, tmp_path: Path, trusted: bool
) -> None:
    directory = make_adapter("served/models/rte")
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "root.pem"))
    trusting = {"SSL_CERT_FILE": str(tmp_path / "root.pem")} if trusted else {}
    with serving(tmp_path / "served", context) as port:
        (told,) = adopted(tmp_path / "cache", trusting, f"https://localhost:{port}/models/rte")
    if trusted:
        assert told == f"{content_hash(directory)} True"
    else:
        assert told.startswith("adapter_unavailable ")
