"""How the parts of a stack are: by name, with an address without secrets, and the cure when one is ill."""

from typing import NamedTuple
from urllib.parse import urlsplit

import psycopg
import redis

from loradex.db.address import libpq_url
from loradex.errors import InvalidArgumentError
from loradex.urls import require_unambiguous_url


class Health(NamedTuple):
    """One part.

    Attributes:
        part: postgres, schema, redis or worker.
        address: Where it is; no password in it.
        healthy: Whether it does its work.
        note: What is known about it: a version, or what is wrong.
        cure: What to do when it is not healthy; None when it is.
    """

    part: str
    address: str
    healthy: bool
    note: str
    cure: str | None


def well(part: str, address: str, note: str) -> Health:
    """A part that does its work."""
    return Health(part, address, healthy=True, note=note, cure=None)


def ill(part: str, address: str, note: str, cure: str) -> Health:
    """A part that does not."""
    return Health(part, address, healthy=False, note=note, cure=cure)


def postgres(url: str, cure: str) -> Health:
    """Whether Postgres answers, and has pgvector to offer."""
    address = without_password(url)
    try:
        with psycopg.connect(libpq_url(url), connect_timeout=2) as connection:
            row = connection.execute(
                "select current_setting('server_version'),"
                " (select default_version from pg_available_extensions where name = 'vector')"
            ).fetchone()
    except (psycopg.Error, InvalidArgumentError) as error:
        return ill("postgres", address, first_line(error), cure)
    version, vector = row or ("?", None)
    if vector is None:
        return ill("postgres", address, f"Postgres {version} without pgvector", "install pgvector there")
    return well("postgres", address, f"Postgres {version}, pgvector {vector}")


def redis_server(url: str, cure: str) -> Health:
    """Whether Redis, or Valkey, answers."""
    address = without_password(url)
    try:
        server = require_unambiguous_url(url, "LORADEX_REDIS_URL")
        with redis.Redis.from_url(server, socket_connect_timeout=2, socket_timeout=2) as client:
            told = client.info("server")
    except (redis.RedisError, OSError, ValueError, InvalidArgumentError) as error:
        return ill("redis", address, first_line(error), cure)
    name, version = "Redis", told.get("redis_version")
    if "valkey_version" in told:
        name, version = "Valkey", told["valkey_version"]
    return well("redis", address, f"{name} {version}")


def without_password(url: str) -> str:
    """The URL as it may be shown: user and server, no password, no options."""
    try:
        parts = urlsplit(require_unambiguous_url(url, ""))
        number = parts.port
    except (ValueError, InvalidArgumentError):
        return "(not a URL)"
    user = f"{parts.username}@" if parts.username else ""
    port = f":{number}" if number else ""
    return f"{parts.scheme}://{user}{parts.hostname or ''}{port}{parts.path}"


def first_line(error: Exception) -> str:
    """An error's first line."""
    return str(error).strip().partition("\n")[0]
