"""The one worker of the embedded stack: a process known by the file it writes when it is ready."""

import importlib.util
import json
import sys
import time
from pathlib import Path
from typing import Any

from loradex.addresses import Addresses
from loradex.embedded import launch, processes
from loradex.embedded.processes import Identity
from loradex.errors import StackError
from loradex.stack_file import StackFile

# A worker finishes its batch when it is asked to stop; one on a slow machine takes a while.
STOP_SECONDS = 60.0
LOOK_EVERY_SECONDS = 0.1


class EmbeddedWorker:
    """One worker process; it lives until it is stopped.

    Args:
        directory: Where its log, its ready file and the record `stack.json` are.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory.resolve()
        self._record = StackFile(self._directory)
        self.log = self._directory / "logs" / "worker.log"
        self.ready_file = self._directory / "worker.ready"

    def is_alive(self) -> bool:
        """Whether its process runs, ready or not."""
        identity = Identity.recorded(self._record.part("worker"))
        return identity is not None and identity.alive

    @property
    def pid(self) -> int | None:
        """Its process, dead or alive; None before the first start."""
        identity = Identity.recorded(self._record.part("worker"))
        return None if identity is None else identity.pid

    def start(self, servers: Addresses, patience: float) -> list[str]:
        """Start it unless it runs as it would be started now, and wait until it is ready for `patience` seconds.

        Returns:
            What has changed since a running worker was started, in words; that worker was replaced.

        Raises:
            StackError: It ended, or is not ready in time; the text holds the end of its log.
        """
        environment = self._environment(servers)
        given = launch.fingerprints(environment)
        part = self._record.part("worker")
        identity = Identity.recorded(part)
        changed: list[str] = []
        if identity is not None and identity.alive:
            changed = launch.differences(part.get("given", {}), given)
        if identity is None or not identity.alive or changed:
            self.stop()
            identity = self._spawn(environment)
            self._record.write("worker", {**identity._asdict(), "given": given})
        self._wait(identity, patience)
        return changed

    def stop(self) -> bool:
        """Let it finish its batch, then end it; whether it ran."""
        ran = processes.stop(Identity.recorded(self._record.part("worker")), STOP_SECONDS)
        self.ready_file.unlink(missing_ok=True)
        return ran

    def is_healthy(self) -> bool:
        """Whether it runs and has said that it is ready; it may be busy."""
        identity = Identity.recorded(self._record.part("worker"))
        return identity is not None and identity.alive and self._is_ready(identity)

    @property
    def name(self) -> str:
        """As it is announced in `loradex.workers`; empty until it is ready."""
        return str(self._said().get("worker", ""))

    def _is_ready(self, identity: Identity) -> bool:
        return bool(self._said().get("pid") == identity.pid)

    def _said(self) -> dict[str, Any]:
        try:
            said = json.loads(self.ready_file.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return {}
        return said if isinstance(said, dict) else {}

    def _environment(self, servers: Addresses) -> dict[str, str]:
        own = {"LORADEX_HOME": str(self._directory), "LORADEX_READY_FILE": str(self.ready_file)}
        return launch.environment() | launch.named(servers) | own

    def _spawn(self, environment: dict[str, str]) -> Identity:
        if importlib.util.find_spec("torch") is None:
            raise StackError("no worker here without torch: pip install 'loradex[worker]', or up --no-worker")
        return processes.start(
            [sys.executable, "-P", "-m", "loradex.worker"],
            log=self.log,
            directory=self._directory,
            environment=environment,
        )

    def _wait(self, identity: Identity, patience: float) -> None:
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if self._is_ready(identity):
                return
            if not identity.alive:
                raise StackError(f"the worker ended: {processes.last_lines(self.log, 1)} (all: {self.log})")
            time.sleep(LOOK_EVERY_SECONDS)
        raise StackError(
            f"the worker is not ready after {patience:.0f} s: see {self.log}, or up again to wait"
        )
