"""Programs of Postgres (psql, pg_dump, pg_restore), run on a database without its password on a command line."""

import importlib.util
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

import psycopg
from psycopg.conninfo import conninfo_to_dict

from loradex.db.address import libpq_url
from loradex.embedded.wheel import INSTALLATION, WHEEL
from loradex.errors import InvalidArgumentError, StackError

SERVICE = "loradex"
SHOWN = 3
"""Lines of an error."""
LONGEST_LINE = 1000
"""Of a service file; libpq reads no longer one."""


def program(name: str) -> Path:
    """Where a program of Postgres is: in the wheel of the embedded one, else on the machine's path.

    Raises:
        StackError: It is in neither.
    """
    wheel = importlib.util.find_spec(WHEEL)
    for place in (wheel.submodule_search_locations or ()) if wheel is not None else ():
        found = Path(place) / INSTALLATION / "bin" / name
        if os.access(found, os.X_OK):
            return found
    on_path = shutil.which(name)
    if on_path is None:
        raise StackError(
            f"there is no {name} here: pip install 'loradex[embedded]', or install the client programs of "
            "Postgres 18 (on Debian: postgresql-client-18)"
        )
    return Path(on_path)


def run_in_terminal(name: str, url: str, arguments: Sequence[str]) -> int:
    """Run a program that talks with the user; returns its exit code. Ctrl-C is for the program alone."""
    where = program(name)
    with _environment(url) as environment:
        before = signal.signal(
            signal.SIGINT, _not_for_us
        )  # unlike SIG_IGN, this does not pass to the program
        try:
            with subprocess.Popen(
                [where, f"--dbname=service={SERVICE}", *arguments],
                env=environment,
            ) as process:
                return process.wait()
        finally:
            signal.signal(signal.SIGINT, before)


def run(name: str, url: str, arguments: Sequence[str | Path]) -> str:
    """Run a program to its end; returns what it printed.

    Raises:
        StackError: It failed; the text is what it said of the first error, or what it said last.
    """
    with _environment(url) as environment:
        done = subprocess.run(
            [program(name), f"--dbname=service={SERVICE}", "--no-password", *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    if done.returncode != 0:
        raise StackError(f"{name} ended with exit code {done.returncode}: {_reason(done.stderr)}")
    return done.stdout


def _reason(said: str) -> str:
    """Behind an error `pg_restore` repeats the whole statement, which may be a function of many lines."""
    lines = said.strip().splitlines()
    first = next((place for place, line in enumerate(lines) if "error:" in line), len(lines) - SHOWN)
    return " | ".join(lines[max(first, 0) :][:SHOWN])


@contextmanager
def _environment(url: str) -> Iterator[Mapping[str, str]]:
    """This process's, where libpq finds the address and its password in a file that only this user reads."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LORADEX_"))}
    with TemporaryDirectory(prefix="loradex-") as directory:
        file = Path(directory) / "pg_service.conf"
        file.touch(mode=0o600)
        file.write_text(_service(url), encoding="utf-8")
        yield {**kept, "PGSERVICEFILE": str(file), "PGAPPNAME": "loradex"}


def _service(url: str) -> str:
    try:
        parts = conninfo_to_dict(libpq_url(url))
    except psycopg.ProgrammingError:
        raise InvalidArgumentError(
            "the database URL cannot be read; write LORADEX_DATABASE_URL as postgresql://user:password@host:port/name"
        ) from None
    lines = [f"{name}={value}" for name, value in parts.items() if value is not None]
    if any(len(line) > LONGEST_LINE or set(line) & set("\r\n") or line != line.strip() for line in lines):
        raise InvalidArgumentError(
            "a part of the database URL is longer than 1000 characters, or has a line end in it or a blank at its end; "
            "the programs of Postgres cannot be told such a part"
        )
    return "\n".join([f"[{SERVICE}]", *lines, ""])


def _not_for_us(_number: int, _frame: FrameType | None) -> None:
    pass
