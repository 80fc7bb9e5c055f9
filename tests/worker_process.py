"""A real worker in a process of its own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.forked import ForkedWorker
from tests.repository import ROOT

START_SECONDS = 240.0


@dataclass
class WorkerProcess:
    """Starts what `python -m loradex.worker` runs, in `home`, and knows when it is ready.

    `settings` are environment variables without their prefix `LORADEX_`, `environment` are others as they are.
    `within` is what its command line begins with, such as another host's; `python` is what runs it.
    """

    home: Path
    settings: Mapping[str, str]
    name: str = "worker"
    environment: Mapping[str, str] = field(default_factory=dict)
    within: Sequence[str] = ()
    python: str = sys.executable
    process: "ForkedWorker | subprocess.Popen[bytes] | None" = field(default=None, init=False)

    @property
    def log(self) -> Path:
        return self.home / f"{self.name}.log"

    @property
    def ready_file(self) -> Path:
        return self.home / f"{self.name}.ready"

    def start(self, *, wait: bool = True) -> "WorkerProcess":
        self.ready_file.unlink(missing_ok=True)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("LORADEX_")}
        wanted = {
            "HOME": str(self.home),
            "READY_FILE": str(self.ready_file),
            "DEVICE": "cpu",
            "THREADS": "1",
            "BANK_BYTES": str(16 << 20),
            **self.settings,
        }
        environment = kept | {f"LORADEX_{name}": value for name, value in wanted.items()}
        self.process = self._started(environment)
        if wait:
            self.wait_ready()
        return self

    def _started(self, environment: Mapping[str, str]) -> "ForkedWorker | subprocess.Popen[bytes]":
        """A copy of a process that has imported all; a program of its own where that makes a difference."""
        if not self.within and not self.environment and self.python == sys.executable:
            return ForkedWorker(environment, ROOT, self.log)
        fixed = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONFAULTHANDLER": "1"}
        with self.log.open("ab") as output:
            return subprocess.Popen(
                [*self.within, self.python, "-P", "-m", "loradex.worker"],
                cwd=ROOT,
                env={**environment, **fixed, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def wait_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self.ready_file.exists():
            if not self.alive:
                raise AssertionError(f"the worker ended: {self.tail()}")
            if time.monotonic() > deadline:
                raise AssertionError(f"the worker is not ready: {self.tail()}")
            time.sleep(0.02)

    def wait_for(self, word: str, seconds: float = 20.0, start: int = 0) -> None:
        """Until the log says `word`, in what follows its byte `start`."""
        deadline = time.monotonic() + seconds
        while word not in self.since(start):
            if time.monotonic() > deadline:
                raise AssertionError(f"the worker did not say {word}: {self.tail()}")
            time.sleep(0.02)

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """As a power cut would: nothing is said goodbye to."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def stop(self, seconds: float = 30.0, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end; returns its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(seconds)

    @property
    def said(self) -> int:
        """How many bytes its log has; `since` gives what comes after them."""
        return self.log.stat().st_size if self.log.exists() else 0

    def since(self, start: int) -> str:
        """What the log says after its byte `start`."""
        return self.log.read_bytes()[start:].decode(errors="replace") if self.log.exists() else ""

    def tail(self, count: int = 2000) -> str:
        return (
            self.log.read_text(encoding="utf-8", errors="replace")[-count:]
            if self.log.exists()
            else "(no log)"
        )


@contextmanager
def asleep(worker: WorkerProcess) -> Iterator[None]:
    """The worker is frozen where it is; its sessions at Postgres go on with what they were told."""
    worker.send(signal.SIGSTOP)
    try:
        yield
    finally:
        worker.send(signal.SIGCONT)
