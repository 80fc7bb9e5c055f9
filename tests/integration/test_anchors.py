"""Heads are kept where LORADEX_ANCHOR says: a file, another Postgres, a locked bucket, time stamps of an authority."""

import json
import resource
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from uuid import uuid4

import boto3
import pytest
from botocore.exceptions import ClientError
from moto.server import ThreadedMotoServer
from tests.world import World

from loradex.db.session import connect
from loradex.errors import AnchorError, InvalidArgumentError
from loradex.service.audit.anchors import anchors
from loradex.service.audit.head import Head
from loradex.service.cli import run

Said = pytest.CaptureFixture[str]
Shell = pytest.MonkeyPatch
CHILDREN = """
    select format('delete from %s where answer_id = (select id from loradex.answers where position = 3)',
                  c.oid::regclass)
    from pg_attribute a join pg_class c on c.oid = a.attrelid
    where c.relnamespace = 'loradex'::regnamespace and a.attname = 'answer_id' and c.relkind in ('r', 'p')"""
ONE, TWO = (Head(place, uuid4(), f"{place:064x}") for place in (1, 2))


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A real time stamp authority, made with `openssl ts`; its address and its root certificate."""
    place = tmp_path_factory.mktemp("authority")
    (place / "tsa.cnf").write_text(
        "[tsa]\ndefault_tsa = t\n[t]\nserial = serial\ndefault_policy = 1.2.3.4\ndigests = sha256\n"
        "signer_digest = sha256\nsigner_cert = tsa.pem\nsigner_key = tsa.key\ncerts = tsa.pem\n"
        "ess_cert_id_alg = sha256\n"
    )
    (place / "serial").write_text("01\n")
    (place / "ext").write_text(
        "extendedKeyUsage = critical,timeStamping\nkeyUsage = critical,digitalSignature\n"
    )

    def openssl(line: str) -> None:
        subprocess.run(["openssl", *line.split()], cwd=place, capture_output=True, check=True)

    openssl("req -x509 -newkey rsa:2048 -nodes -subj /CN=root -days 9 -keyout root.key -out root.pem")
    openssl("req -newkey rsa:2048 -nodes -subj /CN=stamper -keyout tsa.key -out tsa.csr")
    openssl("x509 -req -in tsa.csr -CA root.pem -CAkey root.key -days 9 -extfile ext -out tsa.pem")

    class Stamping(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            (place / "query").write_bytes(self.rfile.read(int(self.headers["Content-Length"])))
            openssl("ts -reply -config tsa.cnf -queryfile query -out reply")
            self.send_response(200)
            self.end_headers()
            self.wfile.write((place / "reply").read_bytes())

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Stamping)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}", place / "root.pem"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """A bucket with object lock in a server that speaks S3 (moto's, since no other can be installed here)."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    with pytest.MonkeyPatch.context() as shell:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            shell.setenv(name, "for-tests")
        client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
        client.create_bucket(Bucket="heads", ObjectLockEnabledForBucket=True)
        yield f"s3://heads/loradex?region=us-east-1&endpoint={endpoint}&days=30"
    server.stop()


@pytest.fixture
def places(
    authority: tuple[str, Path], bucket: str, empty_database_url: str, tmp_path: Path
) -> dict[str, str]:
    """An address of each kind."""
    (tmp_path / "tokens").mkdir()
    address, roots = authority
    return {
        "file": f"file://{tmp_path}/heads",
        "postgres": empty_database_url,
        "s3": bucket.replace("/loradex?", f"/{uuid4()}?"),
        "timestamp": f"tsp+http://{address}/?keep={tmp_path}/tokens&roots={roots}",
    }


def test_every_kind_gives_back_what_it_was_given(places: dict[str, str]) -> None:
    for kind, anchor in zip(places, anchors(" \n".join(places.values())), strict=True):
        assert list(anchor.heads()) == [], kind
        anchor.keep(ONE)
        anchor.keep(TWO)
        kept = sorted(anchor.heads(), key=lambda head: head.position)
        assert [(head.position, head.chain_hash) for head in kept] == [
            (1, ONE.chain_hash),
            (2, TWO.chain_hash),
        ], kind
        assert all(abs(datetime.now(UTC) - head.at) < timedelta(minutes=5) for head in kept), kind
        assert "for-tests" not in anchor.name


def test_the_command_keeps_at_all_and_verify_compares_with_all(
    world: World, database_url: str, places: dict[str, str], monkeypatch: Shell, capsys: Said
) -> None:
    monkeypatch.setenv("LORADEX_DATABASE_URL", database_url)
    monkeypatch.setenv("LORADEX_ANCHOR", " ".join(places.values()))
    world.answered({}, {})
    assert run(["audit", "verify"]) == 1
    assert capsys.readouterr().out.count("keeps no head yet") == 4
    assert run(["audit", "head", "--anchor"]) == 0
    world.answered({})
    assert run(["audit", "head", "--anchor"]) == 0
    capsys.readouterr()
    assert run(["audit", "verify", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [anchor["heads"] for anchor in told["anchors"]] == [2, 2, 2, 2]
    assert told["heads"] == 8

    # Whoever owns the database cuts the newest answer off, consistently.
    with connect(database_url) as owner:
        owner.execute("set session_replication_role = replica")
        for (delete,) in owner.execute(CHILDREN).fetchall():
            owner.execute(str(delete).encode())
        owner.execute("delete from loradex.answers where position = 3")
    for kind, place in places.items():
        monkeypatch.setenv("LORADEX_ANCHOR", place)
        assert run(["audit", "verify"]) == 1, kind
        assert "cut or rewritten" in capsys.readouterr().out, kind


def test_a_locked_head_cannot_be_deleted_nor_hidden(places: dict[str, str]) -> None:
    [anchor] = anchors(places["s3"])
    anchor.keep(ONE)
    endpoint = places["s3"].split("endpoint=")[1].split("&")[0]
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
    [version] = client.list_object_versions(Bucket="heads", Prefix=places["s3"].split("/")[3].split("?")[0])[
        "Versions"
    ]
    key = {"Bucket": "heads", "Key": version["Key"]}
    kept = client.head_object(**key)
    assert kept["ObjectLockMode"] == "COMPLIANCE"
    assert kept["ObjectLockRetainUntilDate"] > datetime.now(UTC) + timedelta(days=29)
    with pytest.raises(ClientError, match="AccessDenied"):
        client.delete_object(**key, VersionId=version["VersionId"], BypassGovernanceRetention=True)
    client.delete_object(**key)  # a marker, which hides it from a plain listing
    assert [head.chain_hash for head in anchor.heads()] == [ONE.chain_hash]


def test_a_time_stamp_is_of_its_authority_and_of_its_head(places: dict[str, str], tmp_path: Path) -> None:
    [anchor] = anchors(places["timestamp"])
    anchor.keep(ONE)
    [token] = (tmp_path / "tokens").iterdir()
    (tmp_path / "head").write_bytes(bytes.fromhex(ONE.chain_hash))
    roots = places["timestamp"].split("roots=")[1]
    seen = subprocess.run(
        ["openssl", "ts", "-verify", "-data", tmp_path / "head", "-in", token, "-CAfile", roots],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Verification: OK" in seen.stdout + seen.stderr
    token.rename(token.with_name(token.name.replace(ONE.chain_hash, TWO.chain_hash)))
    with pytest.raises(AnchorError, match="of another head"):
        list(anchor.heads())
    token = next((tmp_path / "tokens").iterdir())
    token.write_bytes(b"forged")
    with pytest.raises(AnchorError):
        list(anchor.heads())


@pytest.mark.parametrize(
    "break_it",
    [
        lambda _places, place: f"file://{place}/no/such/directory/heads",
        lambda _places, place: f"file://{place}",
        lambda _places, _place: "postgresql://u:secret-7@127.0.0.1:1/x",
        lambda places, _place: places["s3"].replace("heads/", "no-such-bucket/"),
        lambda _places, _place: "s3://heads/x?region=us-east-1&endpoint=http://127.0.0.1:1",
        lambda places, _place: places["timestamp"].replace("roots=", "roots=/no/such"),
        lambda _places, place: f"tsp+http://127.0.0.1:1/?keep={place}/tokens&roots={place}/none.pem",
    ],
)
def test_a_place_that_cannot_be_reached_is_said_and_is_a_finding(
    break_it: Callable[[dict[str, str], Path], str],
    places: dict[str, str],
    world: World,
    database_url: str,
    tmp_path: Path,
    monkeypatch: Shell,
    capsys: Said,
) -> None:
    world.answered({})
    monkeypatch.setenv("LORADEX_DATABASE_URL", database_url)
    monkeypatch.setenv("LORADEX_ANCHOR", f"{break_it(places, tmp_path)} {places['file']}")
    assert run(["audit", "head", "--anchor"]) == 1
    said = capsys.readouterr()
    assert "loradex: " in said.err
    assert (tmp_path / "heads").is_file(), "the other place got it all the same"
    assert run(["audit", "verify"]) == 1
    assert "secret-7" not in said.err + capsys.readouterr().out


@pytest.mark.parametrize(
    "line", ["x", '{"position": 1}', "[]", '{"position": 1, "chain_hash": "zz", "at": "now"}']
)
def test_a_file_that_somebody_else_wrote_into_is_refused(line: str, tmp_path: Path) -> None:
    [anchor] = anchors(f"file://{tmp_path}/heads")
    anchor.keep(ONE)
    with (tmp_path / "heads").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(AnchorError, match="line 2"):
        list(anchor.heads())


def test_a_torn_line_is_no_head_and_the_next_one_takes_its_place(tmp_path: Path) -> None:
    place = tmp_path / "heads"
    [anchor] = anchors(f"file://{place}")
    anchor.keep(ONE)
    whole = place.read_bytes()
    for end in range(1, len(whole) - 1):
        place.write_bytes(whole + whole[:end])
        assert [head.position for head in anchor.heads()] == [1], end
        anchor.keep(TWO)
        assert [head.position for head in anchor.heads()] == [1, 2], end
    place.write_bytes(whole.rstrip(b"\n"))
    assert [head.position for head in anchor.heads()] == [1]
    anchor.keep(TWO)
    assert [head.position for head in anchor.heads()] == [1, 2]
    place.write_bytes(whole + b"somebody else's")
    anchor.keep(TWO)
    with pytest.raises(AnchorError, match="line 2"):
        list(anchor.heads())


def test_a_head_that_does_not_fit_the_disk_leaves_nothing(tmp_path: Path) -> None:
    place = tmp_path / "heads"
    [anchor] = anchors(f"file://{place}")
    anchor.keep(ONE)
    before = place.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 10, limits[1]))
    try:
        with pytest.raises(AnchorError, match="cannot be written"):
            anchor.keep(TWO)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert place.read_bytes() == before
    anchor.keep(TWO)
    assert [head.position for head in anchor.heads()] == [1, 2]


@pytest.mark.parametrize(
    ("kind", "module", "extra"),
    [
        ("s3", "boto3", "s3"),
        ("timestamp", "rfc3161_client", "timestamps"),
        ("timestamp", "cryptography", "timestamps"),
    ],
)
def test_a_part_that_is_not_installed_is_named_by_its_extra(
    kind: str, module: str, extra: str, places: dict[str, str], monkeypatch: Shell, capsys: Said
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    [anchor] = anchors(places[kind])
    for ask in (lambda: anchor.keep(ONE), lambda: list(anchor.heads())):
        with pytest.raises(AnchorError, match=rf"pip install 'loradex\[{extra}\]'"):
            ask()
    monkeypatch.setenv("LORADEX_ANCHOR", places[kind])
    monkeypatch.setenv("LORADEX_DATABASE_URL", places["postgres"])
    assert run(["doctor"]) == 1
    assert f"loradex[{extra}]" in capsys.readouterr().out


def test_what_is_no_answer_of_an_authority_is_said(places: dict[str, str], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            with server.accept()[0] as caller:
                caller.recv(1)
                caller.sendall(b"this is no HTTP\r\n\r\n")

        threading.Thread(target=hang_up, daemon=True).start()
        roots = places["timestamp"].split("roots=")[1]
        port = server.getsockname()[1]
        [anchor] = anchors(f"tsp+http://127.0.0.1:{port}/?keep={tmp_path}/tokens&roots={roots}")
        with pytest.raises(AnchorError, match="the head was not stamped"):
            anchor.keep(ONE)


def test_an_authority_is_asked_without_a_password() -> None:
    with pytest.raises(InvalidArgumentError, match="without user and password") as refused:
        anchors("tsp+https://u:secret-7@h/x?keep=/y&roots=/z")
    assert "secret-7" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "x",
        "tsp+http:///x?keep=/y&roots=/z",
        "tsp+http://h:port/x?keep=/y&roots=/z",
        "http://h/x",
        "file://host/x",
        "file:///",
        "s3:///x",
        "s3://b/x?days=0",
        "tsp+http://h/x?keep=/y",
        "ftp://u:secret-7@h",
    ],
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(InvalidArgumentError, match="LORADEX_ANCHOR: address 2") as refused:
        anchors(f"file:///a/b {url}")
    assert "secret-7" not in str(refused.value)
