"""Postgres and Valkey from wheels, and one worker: the whole stack, without root or Docker.

The names below are imported when they are first used: what needs no process of ours, such as `backup`, works where the
extra `embedded` is not installed.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loradex.addresses import Addresses as Addresses
    from loradex.addresses import addresses as addresses
    from loradex.embedded.postgres import EmbeddedPostgres as EmbeddedPostgres
    from loradex.embedded.valkey import EmbeddedValkey as EmbeddedValkey

__all__ = ["Addresses", "EmbeddedPostgres", "EmbeddedValkey", "addresses"]

_HOMES = {
    "Addresses": "loradex.addresses",
    "EmbeddedPostgres": "loradex.embedded.postgres",
    "EmbeddedValkey": "loradex.embedded.valkey",
    "addresses": "loradex.addresses",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'loradex.embedded' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
