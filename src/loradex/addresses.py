"""Which Postgres and which Redis this process talks to."""

from typing import NamedTuple

from loradex.errors import StackError
from loradex.settings import Settings
from loradex.stack_file import StackFile


class Addresses(NamedTuple):
    """URLs with their passwords: never print them without `without_password`."""

    database_url: str
    redis_url: str


def addresses(settings: Settings) -> Addresses:
    """The servers the settings name; the embedded ones where they name none.

    Raises:
        StackError: Neither the settings nor a running stack say where a server is.
    """
    return Addresses(database_address(settings), redis_address(settings))


def database_address(settings: Settings) -> str:
    """URL of Postgres. Raises as `addresses` does."""
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    return _recorded(settings, "postgres", "LORADEX_DATABASE_URL")


def redis_address(settings: Settings) -> str:
    """URL of Redis. Raises as `addresses` does."""
    if settings.redis_url is not None:
        return settings.redis_url.get_secret_value()
    return _recorded(settings, "valkey", "LORADEX_REDIS_URL")


def _recorded(settings: Settings, part: str, variable: str) -> str:
    url: str | None = StackFile(settings.home).part(part).get("url")
    if url is None:
        raise StackError(f"no stack in {settings.home}: run `loradex up`, or set {variable}")
    return url
