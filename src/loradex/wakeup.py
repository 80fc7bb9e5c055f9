"""What both ends of the bell agree on: its names in Redis, its settings, and what to do when Redis refuses it."""

import re
from collections.abc import Iterator
from ssl import CERT_REQUIRED
from typing import Any
from urllib.parse import urlsplit

from loradex.errors import InvalidArgumentError
from loradex.urls import require_unambiguous_url

QUEUE = "loradex"
TASK = "loradex.answer"
SETTING = "LORADEX_REDIS_URL"
SCHEMES = frozenset({"redis", "rediss", "redis+socket"})
LONGEST_REASON = 200

_ADVICE = (
    (
        "WRONGTYPE",
        f"its key `{QUEUE}` holds something else: delete the key, or name another database in {SETTING}",
    ),
    ("READONLY MASTERDOWN", f"it is a replica: name the primary in {SETTING}"),
    ("NOREPLICAS", "it waits for replicas: start them, or lower its min-replicas-to-write"),
    (
        "NOPERM NOPERMISSION",
        f"allow its user all commands on the keys `{QUEUE}*`, `_kombu*` and `unacked*` and the channels `{QUEUE}*`",
    ),
    ("NOAUTH WRONGPASS AUTHENTICATION", f"correct the user and the password in {SETTING}"),
    ("OOM OUTOFMEMORY", "it is full: raise its maxmemory, or delete what is not needed"),
    ("MISCONF", "it cannot write to its disk: its log says why"),
    ("BUSYLOADING", "it reads its data and will answer afterwards"),
    ("BUSY", "a script keeps it from everything else: SCRIPT KILL ends it"),
    (
        "SSLCERTVERIFICATION",
        f"its certificate does not verify: name who signed it with ?ssl_ca_certs= in {SETTING}",
    ),
    ("MOVED ASK CLUSTERDOWN CROSSSLOT", f"it is one of a cluster: name a server of its own in {SETTING}"),
)
"""By the code of Redis's error, or by the name that redis-py gives it, without `Error`."""


def broker_settings(url: str) -> dict[str, Any]:
    """Celery's settings for the Redis at `url`, the same for clients and workers.

    Raises:
        InvalidArgumentError: The URL is not one of a Redis; it is not repeated, since it may hold a password.
    """
    scheme = urlsplit(require_unambiguous_url(url, SETTING)).scheme
    if scheme not in SCHEMES:
        raise InvalidArgumentError(f"{SETTING} must start with redis://, rediss:// or redis+socket://")
    settings: dict[str, Any] = {
        "broker_url": url,
        "task_default_queue": QUEUE,
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_ignore_result": True,
    }
    if scheme == "rediss":
        # Left alone, kombu trusts any certificate (5.7); what the URL says about it wins over this.
        settings["broker_use_ssl"] = {"ssl_cert_reqs": CERT_REQUIRED}
    return settings


def redis_url(url: str) -> str:
    """The address as redis-py reads it, which has other words than kombu for a socket and for certificates.

    Raises:
        InvalidArgumentError: The URL is not one of a Redis.
    """
    broker_settings(url)
    if url.startswith("redis+socket://"):
        return url.replace("redis+socket://", "unix://", 1).replace("virtual_host=", "db=")
    return re.sub("(?<=ssl_cert_reqs=)CERT_[A-Z]+", lambda found: found[0].removeprefix("CERT_").lower(), url)


def reason_of(error: BaseException) -> str:
    """What an error of Redis or of a library above it says, on one line and in characters that can be shown."""
    text = str(error).rpartition("caused error: ")[2]
    shown = "".join(letter if letter.isprintable() else " " for letter in text).strip().removesuffix(".")
    return shown[:LONGEST_REASON] or type(error).__name__


def advice_on(error: BaseException) -> str:
    """What to do about an error of Redis, or of what lies between it and us."""
    said = {word.strip(":.").upper() for one in _chain(error) for word in _words(one)}
    for codes, advice in _ADVICE:
        if not said.isdisjoint(codes.split()):
            return advice
    return f"start it with `loradex up`, or check {SETTING}"


def _words(error: BaseException) -> Iterator[str]:
    yield type(error).__name__.removesuffix("Error")
    yield from reason_of(error).split()[:1]


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and those that it was raised from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
