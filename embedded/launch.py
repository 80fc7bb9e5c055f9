"""What our own programs are started with, and what has changed since: as hashes, since addresses hold secrets."""

import hashlib
import os
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files

from loradex.addresses import Addresses

PREFIX = "LORADEX_"
# Of the command line: passwords it sets, how long it waits, where heads are kept.
NOT_FOR_PROGRAMS = ("_PASSWORD", "_START_SECONDS", "_ANCHOR")
_WORDS = {
    "LORADEX_DATABASE_URL": "the address of Postgres",
    "LORADEX_REDIS_URL": "the address of Redis",
}


def environment() -> dict[str, str]:
    """This process's environment, without what is for the command line alone."""
    return {
        name: value
        for name, value in os.environ.items()
        if not (name.startswith(PREFIX) and name.endswith(NOT_FOR_PROGRAMS))
    }


def named(servers: Addresses) -> dict[str, str]:
    """The servers by the names that a program's environment has for them."""
    return {"LORADEX_DATABASE_URL": servers.database_url, "LORADEX_REDIS_URL": servers.redis_url}


def fingerprints(given: Mapping[str, str]) -> dict[str, str]:
    """Hashes of all that makes one process unlike another, by what a user calls it."""
    try:
        release = version("loradex")
    except PackageNotFoundError:  # on the path without being installed
        release = ""
    settings = {_WORDS.get(name, name): value for name, value in given.items() if name.startswith(PREFIX)}
    programs = {
        "the Python interpreter": f"{sys.executable} {sys.version}",
        "the installed Loradex": f"{files('loradex')} {release}",
    }
    return {name: hashlib.sha256(value.encode()).hexdigest() for name, value in (programs | settings).items()}


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """What is not the same, in words."""
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
