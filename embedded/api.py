"""The API of the embedded stack: one `loradex serve` on loopback, known by its answer at /livez."""

import http.client
import importlib.util
import sys
import time
from pathlib import Path

import psutil

from loradex.addresses import Addresses
from loradex.embedded import launch, processes
from loradex.embedded.ports import LOOPBACK, free_port
from loradex.embedded.processes import Identity
from loradex.errors import StackError
from loradex.stack_file import StackFile

PORT = 8322
"""Unless something else is there: then a free one, which is kept."""

# It lets requests that are under way come to their end.
STOP_SECONDS = 40.0
START_SECONDS = 60.0
LOOK_EVERY_SECONDS = 0.05
ATTEMPTS = 3


class EmbeddedApi:
    """One server process; it lives until it is stopped.

    Args:
        directory: Where its log and the record `stack.json` are.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory.resolve()
        self._record = StackFile(self._directory)
        self.log = self._directory / "logs" / "api.log"

    @staticmethod
    def installed() -> bool:
        """Whether what serves is here: the extra `serve`."""
        return all(importlib.util.find_spec(name) for name in ("starlette", "uvicorn", "prometheus_client"))

    @property
    def pid(self) -> int | None:
        """Its process, dead or alive; None before the first start, and after it was turned off."""
        identity = Identity.recorded(self._record.part("api"))
        return None if identity is None else identity.pid

    @property
    def url(self) -> str:
        """Its address, as a client of OpenAI's is told it."""
        return f"http://{LOOPBACK}:{self._record.part('api').get('port', PORT)}/v1"

    def start(self, servers: Addresses) -> None:
        """Start it unless it runs as it would be started now, and wait until it answers.

        Raises:
            StackError: It ended, or does not answer in time; the text holds the end of its log.
        """
        # The database is found by its record: then the server makes its own login, and is told no owner's address.
        environment = launch.environment() | {"LORADEX_HOME": str(self._directory)}
        given = launch.fingerprints(environment | launch.named(servers))
        for attempt in range(1, ATTEMPTS + 1):
            part = self._record.part("api")
            identity = Identity.recorded(part)
            if identity is None or not identity.alive or launch.differences(part.get("given", {}), given):
                self.stop()
                port = free_port(part.get("port", PORT))
                identity = self._spawn(port, environment)
                self._record.write("api", {**identity._asdict(), "port": port, "given": given})
            try:
                self._wait(identity)
            except StackError:
                # Another process may have taken the port just before.
                if attempt == ATTEMPTS or identity.alive:
                    raise
            else:
                return

    def stop(self) -> bool:
        """Let it answer what is under way, then end it; whether it ran."""
        return processes.stop(Identity.recorded(self._record.part("api")), STOP_SECONDS)

    def turn_off(self) -> None:
        """Stop it, and forget that there was one."""
        if self.pid is not None:
            self.stop()
            self._record.write("api", {})

    def is_healthy(self) -> bool:
        """Whether it runs and answers; another stack's API at the same port is not it."""
        part = self._record.part("api")
        identity, port = Identity.recorded(part), part.get("port", PORT)
        return identity is not None and _listens(identity, port) and _answers(port)

    def _spawn(self, port: int, environment: dict[str, str]) -> Identity:
        return processes.start(
            [
                *(sys.executable, "-P", "-c", "from loradex.service.cli import main; main()"),
                *("serve", "--port", str(port)),
            ],
            log=self.log,
            directory=self._directory,
            environment=environment,
        )

    def _wait(self, identity: Identity) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.is_healthy():
                return
            if not identity.alive:
                raise StackError(f"the API ended: {processes.last_lines(self.log, 1)} (all: {self.log})")
            time.sleep(LOOK_EVERY_SECONDS)
        raise StackError(f"the API does not answer after {START_SECONDS:.0f} s: see {self.log}")


def _listens(identity: Identity, port: int) -> bool:
    process = identity.process()
    try:
        found = [] if process is None else process.net_connections(kind="tcp")
    except psutil.Error:
        return False
    return any(one.status == psutil.CONN_LISTEN and one.laddr.port == port for one in found)


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=5)
    try:
        connection.request("GET", "/livez")
        return bool(connection.getresponse().status == http.client.OK)
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
