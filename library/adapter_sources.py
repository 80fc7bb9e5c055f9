"""Places of adapters elsewhere (`s3://`, `gs://`, `az://`, `https://`, `hf://`), and which of them are allowed."""

import re
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import BeforeValidator
from pydantic_settings import NoDecode

from loradex.errors import AdapterRefusedError

SCHEMES: Final = ("s3", "gs", "az", "https", "hf")
MAX_URL: Final = 2000
# No query and no name with a password: an address is stored, and shown to everybody who may read the catalogue.
ADDRESS = re.compile(r"(?P<scheme>s3|gs|az|https|hf)://(?P<place>[A-Za-z0-9][A-Za-z0-9._~+=@:/-]*)")
HUB = re.compile(
    r"hf://(?P<repository>[\w.-]+/[\w.-]+)@(?P<commit>[0-9a-f]{40})(?:/(?P<folder>[\w./-]+))?", re.ASCII
)
PINNED = re.compile(
    r"(?P<url>[^#]+)#(?P<sha256>[0-9a-f]{64}):(?P<config>[0-9]{1,12})\+(?P<weights>[0-9]{1,12})"
)


def _split(value: object) -> object:
    return value.replace(",", " ").split() if isinstance(value, str) else value


SourceList = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
"""A setting that holds beginnings of addresses, separated by blanks or commas."""


@dataclass(frozen=True)
class RemotePlace:
    """An adapter elsewhere and what its two files are, so that whoever fetches it needs nothing else.

    Stored as `url#sha256:bytes of the config+bytes of the weights`.
    """

    url: str
    sha256: str
    config_bytes: int
    weights_bytes: int

    @classmethod
    def parse(cls, uri: str) -> "RemotePlace":
        """What `str` made; `AdapterRefusedError` for anything else."""
        match = PINNED.fullmatch(uri)
        if match is None:
            raise AdapterRefusedError(
                f"{uri[:200]}: it does not say which files lie there; register the adapter with "
                "`loradex adapter register`, which stores their hash and sizes"
            )
        return cls(checked(match["url"]), match["sha256"], int(match["config"]), int(match["weights"]))

    def __str__(self) -> str:
        return f"{self.url}#{self.sha256}:{self.config_bytes}+{self.weights_bytes}"

    @property
    def bytes(self) -> int:
        return self.config_bytes + self.weights_bytes


def is_remote(place: str) -> bool:
    """Whether it is an address and not a directory."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", place) is not None


def checked(url: str) -> str:
    """The address without a slash at its end.

    Raises:
        AdapterRefusedError: It is of no kind that is read, holds a login or a signature, or leads out of its place.
    """
    bare = url.rstrip("/")
    match = ADDRESS.fullmatch(bare)
    if match is None or len(bare) > MAX_URL:
        raise AdapterRefusedError(
            f"{url[:200]}: an adapter elsewhere is {', '.join(f'{scheme}://' for scheme in SCHEMES)} and a plain path; "
            "write it without logins, signatures and questions (credentials come from the environment)"
        )
    host, _, path = match["place"].partition("/")
    if match["scheme"] == "hf":
        if HUB.fullmatch(bare) is None:
            raise AdapterRefusedError(
                f"{bare}: name the commit, since what a branch holds changes: hf://org/name@<40 hex digits>"
            )
    elif "@" in host:
        raise AdapterRefusedError(
            f"{bare}: a login does not belong into an address; take it out, and set it in the environment"
        )
    if any(part in {"", ".", ".."} for part in path.split("/")) and path:
        raise AdapterRefusedError(
            f"{bare}: its path must not hold '..' or be empty between slashes; write it out"
        )
    return bare


def allowed_by(url: str, allowed: tuple[str, ...]) -> str:
    """The allowed beginning that an address has; whole parts of the path count, and of a hub's address no commit.

    Raises:
        AdapterRefusedError: There is none.
    """
    whole = re.sub(r"@[0-9a-f]{40}", "", url) if url.startswith("hf://") else url
    for beginning in allowed:
        if f"{whole}/".startswith(f"{beginning.rstrip('/')}/"):
            return beginning
    shown = ", ".join(allowed) or "none"
    raise AdapterRefusedError(
        f"{url}: adapters are fetched from allowed places alone ({shown}); add its beginning to "
        "LORADEX_ADAPTER_SOURCES, for workers too"
    )
