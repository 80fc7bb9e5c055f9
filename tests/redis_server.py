"""A Valkey of a test's own, which may be told anything: its settings are not protected, its `admin` stays."""

import contextlib
import signal
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

import redis
from tests.until import until

from loradex.embedded import valkey
from loradex.embedded.ports import free_port
from loradex.wakeup import QUEUE

PASSWORD = "for-tests-only"
START_SECONDS = 20.0


class RedisServer:
    """One server in `directory`, at the same port whenever it is started.

    The program under test uses `url`, the test `admin`, a user whom `cut` spares.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.port = free_port()
        self.cluster_port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._clients: list[redis.Redis] = []
        self.admin = self.client()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"redis://:{PASSWORD}@127.0.0.1:{self.port}/0"

    def client(self) -> redis.Redis:
        """A connection of the administrator."""
        return redis.Redis(port=self.port, username="admin", password=PASSWORD, retry=None)

    def start(self, *settings: str) -> None:
        """Start it, with further lines of its configuration, and wait until it answers, if only with an error."""
        lines = [
            "bind 127.0.0.1",
            f"port {self.port}",
            f"cluster-port {self.cluster_port}",
            f"requirepass {PASSWORD}",
            f"user admin on >{PASSWORD} ~* &* +@all",
            f'dir "{self.directory}"',
            'save ""',
            "enable-protected-configs yes",
            *settings,
        ]
        configuration = self.directory / "server.conf"
        configuration.write_text("\n".join(lines) + "\n")
        with (self.directory / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [valkey._program(), configuration], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        until(lambda: not self.says("CONNECTIONERROR"), START_SECONDS)

    def stop(self, number: signal.Signals = signal.SIGKILL) -> None:
        self.admin.close()
        if self._process is not None:
            self.send(number)
            self.send(signal.SIGCONT)
            self._process.wait()
            self._process = None

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def says(self, word: str) -> bool:
        """Whether this word is in its error when it is asked for a key, or is PONG and there is no error."""
        try:
            self.admin.execute_command("GET", QUEUE)
        except redis.RedisError as error:
            return word in f"{type(error).__name__} {error}".upper()
        return word == "PONG"

    def cut(self) -> None:
        """Hang up on everybody but the administrator."""
        with contextlib.suppress(redis.RedisError):
            self.admin.execute_command("CLIENT", "KILL", "SKIPME", "yes")
