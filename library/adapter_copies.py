"""Which of several directories of one name is the adapter that was registered: its content hash tells."""

from collections.abc import Iterable
from pathlib import Path

from loradex.errors import AdapterRefusedError

Marks = tuple[tuple[int, ...], ...]
"""Of both files: device, inode, size, and when content and inode changed last."""


class AdapterCopies:
    """Hashes directories, and again only once their files are others; whoever reads the files checks them himself."""

    def __init__(self) -> None:
        self._hashed: dict[Path, tuple[Marks, str]] = {}

    def registered(self, directories: Iterable[Path], sha256: str) -> Path | None:
        """The first that has the content hash; one that cannot be read has none."""
        return next((one for one in directories if self._hash_of(one) == sha256), None)

    def _hash_of(self, directory: Path) -> str | None:
        from loradex.library.adapter_files import CONFIG, WEIGHTS, content_hash  # noqa: PLC0415 - numpy

        try:
            marks = tuple(_marks(directory / name) for name in (CONFIG, WEIGHTS))
            known = self._hashed.get(directory)
            if known is None or known[0] != marks:
                known = self._hashed[directory] = marks, content_hash(directory)
        except (OSError, AdapterRefusedError):
            return None
        return known[1]


def _marks(path: Path) -> tuple[int, ...]:
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
