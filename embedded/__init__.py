"""Postgres and Valkey from wheels, and one worker: the whole stack, without root or Docker."""

from loradex.addresses import Addresses, addresses
from loradex.embedded.postgres import EmbeddedPostgres
from loradex.embedded.valkey import EmbeddedValkey

__all__ = ["Addresses", "EmbeddedPostgres", "EmbeddedValkey", "addresses"]
