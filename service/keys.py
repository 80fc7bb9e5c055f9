"""Secrets of API keys: made here, told to their owner once, and to Postgres as a hash."""

import hashlib
import secrets

from loradex.db.session import connect, translate_errors

BYTES = 32
FIRST_OWNER = "local"


def new_key() -> tuple[str, bytes]:
    """A new key, and its SHA-256."""
    made = f"lx_{secrets.token_urlsafe(BYTES)}"
    return made, hashlib.sha256(made.encode()).digest()


def first_key(url: str) -> str | None:
    """A key for whoever made this database, if nobody has one; None if there are keys.

    Args:
        url: Postgres, as its owner or an administrator.
    """
    made, made_hash = new_key()
    with translate_errors(), connect(url) as connection:
        if connection.execute("select from loradex.list_api_keys() limit 1").fetchone() is not None:
            return None
        connection.execute(
            "select loradex.create_api_key(%s, 'made by loradex up', %s)", (FIRST_OWNER, made_hash)
        )
    return made
