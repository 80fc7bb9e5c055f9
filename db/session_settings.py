"""What a session relies on, whatever the server, the database, the login or a pooler has for a default."""

from collections.abc import Mapping
from typing import LiteralString

RELIED_ON: Mapping[str, str] = {
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    "default_transaction_deferrable": "off",
    "synchronous_commit": "on",
    "row_security": "on",
    "search_path": "public",
    "client_encoding": "UTF8",
    "client_min_messages": "warning",
    "standard_conforming_strings": "on",
    "quote_all_identifiers": "off",
    "array_nulls": "on",
    "transform_null_equals": "off",
    "timezone": "UTC",
    "datestyle": "ISO, YMD",
    "intervalstyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "plan_cache_mode": "auto",
}
AT_LEAST: Mapping[str, str] = {
    "statement_timeout": "1min",
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "1min",
    "transaction_timeout": "2min",
    "idle_session_timeout": "1min",
}
"""Limits that would end what we do if they were shorter. Longer ones, and none at all, stay as they are."""

SETTLE: LiteralString = """
    select pg_backend_pid() as pid, count(set_config(r.name, case
        when not r.least or (current_setting(r.name) <> '0' and current_setting(r.name)::interval < r.value::interval)
        then r.value else current_setting(r.name) end, %(pid)s <> pg_backend_pid()))
    from unnest(%(names)s::text[], %(values)s::text[], %(least)s::bool[]) r(name, value, least)
    where current_setting(r.name, true) is not null"""
"""Sets them all: for the session, or for the transaction alone where the server's process is not the one that the
connection was told of. Then a pooler is between, and the server's session is shared with others."""

LIFT: LiteralString = "set local statement_timeout = '1min'"
"""Goes first where a default is so short that `SETTLE` itself is cut off."""

LIFTS = 5
"""Tries: what is as short as a millisecond may cut this off, too."""


def settling(pid: int) -> Mapping[str, object]:
    """The values of `SETTLE`, for a connection that was told it has the server process `pid`."""
    return {
        "pid": pid,
        "names": [*RELIED_ON, *AT_LEAST],
        "values": [*RELIED_ON.values(), *AT_LEAST.values()],
        "least": [False] * len(RELIED_ON) + [True] * len(AT_LEAST),
    }
