"""The one kind of link that is followed: from a snapshot in a Hugging Face cache to its blob beside it."""

import os
import re
from pathlib import Path

REPOSITORY = re.compile(r"models--[^/]+")
BLOB = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def repository(directory: Path) -> Path | None:
    """The folder `models--<organisation>--<name>` whose snapshot this directory lies in, or is; else None."""
    for folder in (directory, *directory.parents):
        if folder.parent.name == "snapshots" and REPOSITORY.fullmatch(folder.parent.parent.name):
            return folder.parent.parent
    return None


def blob(path: Path) -> Path | None:
    """Where the bytes of a snapshot's file lie; None if `path` is not a link from a snapshot to a blob of its own."""
    cache = repository(path.parent)
    if cache is None or not path.is_symlink():
        return None
    target = Path(os.path.normpath(path.parent / path.readlink()))
    return target if target.parent == cache / "blobs" and BLOB.fullmatch(target.name) else None
