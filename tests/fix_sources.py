"""Adapters in a bucket of a server that speaks S3 (moto's), behind a proxy that does what bad networks do."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.toxic_proxy import ToxicProxy

from loradex.library.adapter_cache import AdapterCache

BUCKET = "adapters"


@dataclass(frozen=True)
class Bucket:
    """A bucket that is reached through `proxy` by whoever has `environment`, and by `client` directly."""

    client: Any
    proxy: ToxicProxy
    environment: dict[str, str]

    def put(self, directory: Path, key: str) -> str:
        """The address of a copy of the directory's files."""
        for path in directory.iterdir():
            self.client.put_object(Bucket=BUCKET, Key=f"{key}/{path.name}", Body=path.read_bytes())
        return f"s3://{BUCKET}/{key}"


@pytest.fixture(scope="session")
def _object_store() -> Iterator[tuple[Any, str, int]]:
    import boto3  # noqa: PLC0415 - seconds that other tests need not wait for
    from moto.server import ThreadedMotoServer  # noqa: PLC0415

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    client = boto3.client(
        "s3",
        endpoint_url=f"http://{host}:{port}",
        region_name="us-east-1",
        aws_access_key_id="for-tests",
        aws_secret_access_key="for-tests",
    )
    client.create_bucket(Bucket=BUCKET)
    yield client, host, port
    server.stop()


@pytest.fixture
def bucket(_object_store: tuple[Any, str, int], monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    client, host, port = _object_store
    proxy = ToxicProxy((host, port))
    environment = {
        "AWS_ACCESS_KEY_ID": "for-tests",
        "AWS_SECRET_ACCESS_KEY": "for-tests",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{proxy.port}",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    yield Bucket(client, proxy, environment)
    proxy.close()


MakeCache = Callable[..., AdapterCache]


@pytest.fixture
def make_cache(tmp_path: Path) -> MakeCache:
    """A cache of a worker of its own, which allows the bucket."""

    def make(name: str = "cache", **options: Any) -> AdapterCache:
        given = {"budget": 1 << 30, "allowed": (f"s3://{BUCKET}",), "free_bytes": 0, "wait_seconds": 0.01}
        return AdapterCache(tmp_path / "home" / name, **given | options)

    return make
