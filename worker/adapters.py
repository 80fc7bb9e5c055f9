"""Where adapter files lie, and that they lie nowhere else."""

from collections.abc import Sequence
from pathlib import Path

from db.errors import AdapterRefusedError


class AdapterFiles:
    """Finds an adapter's directory below the configured roots; a relative address is tried below each root."""

    def __init__(self, roots: Sequence[Path]) -> None:
        self._roots = tuple(root.resolve() for root in roots)

    def directory(self, uri: str) -> Path:
        """The directory at `uri`; links and `..` are followed before it is judged."""
        path = Path(uri.removeprefix("file://"))
        for root in self._roots:
            directory = (root / path).resolve()
            if root in directory.parents and directory.is_dir():
                return directory
        roots = ", ".join(str(root) for root in self._roots) or "none"
        raise AdapterRefusedError(
            f"no adapter directory {uri} below the configured roots ({roots}); add its root to LORADEX_ADAPTER_ROOTS"
        )
