"""What a call of `enqueue_jobs` may cost the backend: documents of every shape, and its memory as it is told."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import psycopg

BYTES_PER_BYTE: Final = 12
"""Memory of the backend that a call may take, per byte of its document."""

TEXT: Final = "word " * 20_000
ACCEPTED: Final[Mapping[str, Sequence[Mapping[str, Any]]]] = {
    "long prompts": [{"prompt": TEXT}] * 100,
    "many jobs": [{"prompt": TEXT[:1000], "choices": ["yes", "no", "maybe"], "k": 5}] * 8000,
    "many choices": [{"prompt": "x", "choices": [f"{n} {TEXT[:380]}" for n in range(250)]}] * 100,
}
"""Jobs of documents that are large and within every limit."""


def peak_of(connection: psycopg.Connection[Any]) -> int:
    """Bytes that the process of this session held at most so far."""
    status = Path(f"/proc/{connection.info.backend_pid}/status").read_text(encoding="ascii")
    found = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
    if found is None:
        raise AssertionError("this system does not tell a process's peak memory")
    return int(found[1]) * 1024
