"""Work on somebody else's text in a process of its own, which has little time, little memory and no secrets."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from loradex.errors import ConfinedError

CPU_SECONDS = 2
WALL_SECONDS = 60.0
MEMORY_BYTES = 512 << 20
MOST_BYTES = 8 << 20


def confined(module: str, asked: Mapping[str, Any]) -> Any:
    """What the program `module`, which calls `confine`, answers to a JSON document.

    Raises:
        ConfinedError: It took more than it may, or broke.
    """
    known = {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", module],
            input=json.dumps(asked).encode(),
            capture_output=True,
            timeout=WALL_SECONDS,
            env=known,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ConfinedError("it takes too long") from None
    if done.returncode < 0:
        raise ConfinedError(f"it takes more than {CPU_SECONDS} s or {MEMORY_BYTES >> 20} MiB")
    if done.returncode or len(done.stdout) > MOST_BYTES:
        raise ConfinedError("it breaks the program that works on it, or gives too much")
    return json.loads(done.stdout)


def confine() -> None:
    """Bind this process for the rest of its life."""
    import resource  # noqa: PLC0415 - of no use to whoever starts such a process

    for limit, most in (
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, 0),
    ):
        resource.setrlimit(limit, (most, most))
