"""Postgres and Valkey from wheels, and one worker: the whole stack, without root or Docker."""

from db.embedded.addresses import Addresses, addresses
from db.embedded.postgres import EmbeddedPostgres
from db.embedded.valkey import EmbeddedValkey

__all__ = ["Addresses", "EmbeddedPostgres", "EmbeddedValkey", "addresses"]
