"""Addresses of adapters: which are read, what is stored of them, which are allowed."""

import pytest
from tests.repository import ROOT

from loradex.errors import AdapterRefusedError
from loradex.library.adapter_sources import SCHEMES, RemotePlace, allowed_by, checked, is_remote

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    "url",
    [
        "s3://bucket",
        "s3://bucket/models/rte-v1.2",
        "gs://bucket/a",
        "az://container/a=b/c+d",
        "https://models.example.org:8443/~me/rte",
        f"hf://org/name@{COMMIT}",
        f"hf://org/name@{COMMIT}/checkpoint-20/last",
    ],
)
def test_what_is_stored_says_where_and_what(url: str) -> None:
    assert is_remote(url)
    assert checked(f"{url}/") == url
    place = RemotePlace(url, "a" * 64, 623, 13230)
    assert RemotePlace.parse(str(place)) == place


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/a",
        "file:///etc",
        "ftp://example.org/a",
        "s3://",
        "s3://bucket/../other",
        "s3://bucket//a",
        "s3://bucket/./a",
        "s3://bucket/%2e%2e/a",
        "s3://bucket/a\n",
        "https://me:secret@example.org/a",
        "https://example.org/a?X-Amz-Signature=1",
        "https://example.org/a#b",
        "https://-example.org",
        "hf://org/name",
        "hf://org/name@main",
        f"hf://name@{COMMIT}",
        f"hf://org/name@{COMMIT}/../x",
        "s3://" + "a" * 3000,
    ],
)
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(AdapterRefusedError):
        checked(url)


@pytest.mark.parametrize(
    "uri", ["s3://b/a", "s3://b/a#1", f"s3://b/a#{'a' * 64}:1", f"s3://b/a#{'A' * 64}:1+1"]
)
def test_a_stored_address_without_its_hash_is_refused(uri: str) -> None:
    with pytest.raises(AdapterRefusedError, match="which files lie there"):
        RemotePlace.parse(uri)


@pytest.mark.parametrize(
    ("url", "allowed", "fits"),
    [
        ("s3://bucket/a", "s3://bucket", True),
        ("s3://bucket/a", "s3://bucket/a", True),
        ("s3://bucket-of-others/a", "s3://bucket", False),
        ("s3://bucket/ab", "s3://bucket/a", False),
        ("s3://bucket/a", "s3://", True),
        ("https://example.org.evil.net/a", "https://example.org", False),
        ("https://example.org:8443/a", "https://example.org", False),
        (f"hf://org/name@{COMMIT}", "hf://org", True),
        (f"hf://org/name@{COMMIT}/x", "hf://org/name", True),
        (f"hf://org/name-2@{COMMIT}", "hf://org/name", False),
        ("s3://bucket/a", "hf://", False),
    ],
)
def test_whole_parts_of_an_address_are_allowed(url: str, allowed: str, fits: bool) -> None:
    if fits:
        assert allowed_by(url, ("gs://other", allowed)) == allowed
    else:
        with pytest.raises(AdapterRefusedError, match="LORADEX_ADAPTER_SOURCES"):
            allowed_by(url, ("gs://other", allowed))


def test_the_page_names_every_kind_of_place() -> None:
    page = (ROOT / "docs" / "adapters.md").read_text(encoding="utf-8")
    assert all(f"`{scheme}://" in page for scheme in SCHEMES)
