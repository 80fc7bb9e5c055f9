"""The one kind of link that is followed: from a snapshot in a Hugging Face cache to its blob beside it."""

import re
from pathlib import Path

REPOSITORY = re.compile(r"models--[^/]+")
BLOB = re.compile(r"\.\./\.\./blobs/(?P<name>[0-9a-f]{40}|[0-9a-f]{64})")


def repository(directory: Path) -> Path | None:
    """The folder `models--<organisation>--<name>` whose `snapshots/<commit>` this directory is; None if it is none."""
    if directory.parent.name != "snapshots" or REPOSITORY.fullmatch(directory.parent.parent.name) is None:
        return None
    return directory.parent.parent


def blob(path: Path) -> Path | None:
    """Where the bytes of a snapshot's file lie; None if `path` is not a link from a snapshot to a blob of its own."""
    cache = repository(path.parent)
    if cache is None or not path.is_symlink():
        return None
    found = BLOB.fullmatch(str(path.readlink()))
    return None if found is None else cache / "blobs" / found["name"]
