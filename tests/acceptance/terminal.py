"""Runs `loradex` as a user does: the installed program, in a folder, with nothing of this process's settings."""

import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

NOT_PASSED_ON = ("LORADEX_", "PYTHON", "XDG_", "PG", "VIRTUAL_ENV")
COMMON = {"LORADEX_DEVICE": "cpu", "LORADEX_THREADS": "1", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


@dataclass(frozen=True)
class Terminal:
    """A folder and an environment.

    Attributes:
        programs: Directory of `python` and `loradex`.
        folder: Where programs are started.
        settings: Environment variables besides those every program here gets.
        afterwards: Called after each program.
    """

    programs: Path
    folder: Path
    settings: Mapping[str, str]
    afterwards: Callable[[], None] = field(default=lambda: None)

    def loradex(self, *arguments: str | Path) -> str:
        """What `loradex` printed; it must succeed."""
        return self.run(self.programs / "loradex", *arguments)

    def run(self, *command: str | Path, folder: Path | None = None) -> str:
        """What a program printed; it must succeed."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(NOT_PASSED_ON)}
        done = subprocess.run(
            command,
            cwd=folder or self.folder,
            env=kept | COMMON | self.settings,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
        self.afterwards()
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def chosen(printed: str) -> list[str]:
    """The answers a demo printed: each stands two lines below its question's choices."""
    lines = printed.splitlines()
    return [lines[place + 2] for place, line in enumerate(lines) if line.startswith("choices: ")]
