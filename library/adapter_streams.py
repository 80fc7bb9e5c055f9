"""The bytes of a file that lies elsewhere, piece by piece; credentials come from the environment alone.

`s3`, `gs`, `az` and `https` are read with obstore, `hf` with huggingface_hub.
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import timedelta
from typing import Any, Final

from loradex.errors import AdapterRefusedError, AdapterUnavailableError
from loradex.library.adapter_sources import HUB

CONNECT: Final = timedelta(seconds=5)
STALLED_SECONDS: Final = 20.0
PIECE_BYTES: Final = 1 << 20
MOST_REDIRECTS: Final = 5
MOST_TOLD: Final = 300
# What follows it is the body of the reply: nobody's business, and of any length.
STATUS: Final = re.compile(r"(status code: \d+[A-Za-z ]*).*")

# Where an environment names credentials of a kind; without one no others are looked for on the machine's network.
LOGINS: Final[Mapping[str, tuple[str, ...]]] = {
    "s3": ("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
    "gs": ("GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_KEY", "GOOGLE_APPLICATION_CREDENTIALS"),
    "az": (
        *("AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_SAS_KEY", "AZURE_STORAGE_TOKEN"),
        *("AZURE_STORAGE_CLIENT_SECRET", "AZURE_FEDERATED_TOKEN_FILE"),
    ),
}


class BrokenOffError(Exception):
    """The place answers badly or not at all now; it may give the file when it is asked again."""


def pieces(
    url: str, name: str, whole_seconds: float, stalled_seconds: float = STALLED_SECONDS
) -> Iterator[bytes]:
    """The file `name` of the directory `url`, as it comes; given up when no byte comes for so long.

    The time for all of it is bounded as well: where pieces are gathered first, whoever reads them cannot count.

    Raises:
        BrokenOffError: The connection ended, nothing came for some seconds, or it came too slowly.
        AdapterUnavailableError: There is no such file, or it may not be read.
        AdapterRefusedError: The package that reads such places is not installed.
    """
    if url.startswith("hf://"):
        yield from _from_hub(url, name, stalled_seconds)
    else:
        yield from _from_store(url, name, whole_seconds, stalled_seconds)


def _from_store(url: str, name: str, whole_seconds: float, stalled_seconds: float) -> Iterator[bytes]:
    try:
        import obstore  # noqa: PLC0415 - of the extra `sources`
        from obstore.exceptions import (  # noqa: PLC0415
            BaseError,
            NotFoundError,
            PermissionDeniedError,
            UnauthenticatedError,
        )
    except ImportError:
        raise AdapterRefusedError(f"{url}: reading it needs pip install 'loradex[sources]'") from None
    try:
        store = _store(url, timedelta(seconds=whole_seconds), timedelta(seconds=stalled_seconds))
        for piece in obstore.get(store, name).stream(min_chunk_size=PIECE_BYTES):
            yield bytes(piece)
    except (NotFoundError, FileNotFoundError):
        raise AdapterUnavailableError(f"{url}/{name}: there is no such file, or it may not be seen") from None
    except (PermissionDeniedError, UnauthenticatedError, PermissionError):
        raise AdapterUnavailableError(
            f"{url}/{name}: it may not be read; credentials come from the environment"
        ) from None
    except (BaseError, OSError) as error:
        reason = STATUS.sub(r"\1", str(error).split("\n", maxsplit=1)[0])
        raise BrokenOffError(reason[:MOST_TOLD]) from error


def _store(url: str, whole: timedelta, stalled: timedelta) -> Any:
    from obstore.store import AzureStore, GCSStore, HTTPStore, S3Store  # noqa: PLC0415

    scheme, _, place = url.partition("://")
    bucket, _, prefix = place.partition("/")
    client: Any = {"connect_timeout": CONNECT, "read_timeout": stalled, "timeout": whole}
    # Whoever asks tries again: here it would take minutes.
    patience: Any = {"max_retries": 0}
    if scheme == "https":
        return HTTPStore(url, client_options=client, retry_config=patience)
    signed = any(os.environ.get(name) for name in LOGINS[scheme])
    common: dict[str, Any] = {
        "prefix": prefix or None,
        "skip_signature": not signed,
        "client_options": client,
        "retry_config": patience,
    }
    if scheme == "gs":
        return GCSStore(bucket, **common)
    if scheme == "az":
        return AzureStore(bucket, **common)
    # An endpoint of one's own may be a plain one, within a network of one's own.
    client["allow_http"] = os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://")
    return S3Store(bucket, **common)


def _from_hub(url: str, name: str, stalled_seconds: float) -> Iterator[bytes]:
    """Its pieces are not gathered, so that whoever reads them can count the seconds."""
    try:
        import httpx2  # noqa: PLC0415
        from huggingface_hub import get_session, hf_hub_url  # noqa: PLC0415 - of the extra `sources`
        from huggingface_hub.errors import HFValidationError, OfflineModeIsEnabled  # noqa: PLC0415
        from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # noqa: PLC0415
    except ImportError:
        raise AdapterRefusedError(f"{url}: reading it needs pip install 'loradex[sources]'") from None
    match = HUB.fullmatch(url)
    if match is None:
        raise AdapterRefusedError(f"{url}: not a place of the hub; write hf://org/name@commit")
    patience = httpx2.Timeout(stalled_seconds, connect=CONNECT.total_seconds())
    # Bytes are hashed as they come, and packed ones could be a thousand times as many.
    headers = build_hf_headers() | {"accept-encoding": "identity"}
    try:
        address = hf_hub_url(
            match["repository"],
            name,
            subfolder=match["folder"],
            revision=match["commit"],
            endpoint=os.environ.get("HF_ENDPOINT"),
        )
        client = get_session()
        request = client.build_request("GET", address, headers=headers, timeout=patience)
        with closing(_reply(client, request, f"{url}/{name}")) as reply:
            yield from reply.iter_raw()
    except HFValidationError as error:
        raise AdapterRefusedError(f"{url}: {error}; write hf://org/name@commit") from None
    except OfflineModeIsEnabled:
        raise AdapterUnavailableError(f"{url}: HF_HUB_OFFLINE is set, so the hub is not asked") from None
    except httpx2.HTTPError as error:
        reason = str(error).split("\n", maxsplit=1)[0] or type(error).__name__
        raise BrokenOffError(reason[:MOST_TOLD]) from error


def _reply(client: Any, request: Any, shown: str) -> Any:
    """The reply that has the file, wherever the hub leads for it: from an encrypted place to no other.

    Where it leads is told to nobody: such addresses are signed.
    """
    for _ in range(MOST_REDIRECTS):
        reply = client.send(request, stream=True, follow_redirects=False)
        if reply.is_success:
            return reply
        reply.close()
        following = reply.next_request
        if following is None:
            break
        if request.url.scheme == "https" and following.url.scheme != "https":
            raise AdapterRefusedError(
                f"{shown}: the hub leads to {following.url.scheme}://, which is not encrypted; use a hub "
                "behind https"
            )
        request = following
    else:
        raise BrokenOffError(f"the hub leads on more than {MOST_REDIRECTS} times")
    if reply.status_code in {401, 403, 404}:
        raise AdapterUnavailableError(
            f"{shown}: the hub does not give it ({reply.status_code}); for a private one set HF_TOKEN"
        )
    raise BrokenOffError(f"the hub answers with {reply.status_code}")
