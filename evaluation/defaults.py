"""The defaults of the routing as the database has them, and how one is changed."""

from dataclasses import fields
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from loradex.db.session import translate_errors
from loradex.evaluation.plan import Options


def read_defaults(connection: psycopg.Connection[Any]) -> tuple[str, Options, str]:
    """The default method, its k, top_p and temperature, and how choices are judged."""
    with translate_errors():
        rows = connection.execute(
            "select name, value from loradex.settings "
            "where name in ('method', 'k', 'top_p', 'temperature', 'choice_prior')"
        ).fetchall()
    found = dict(rows)
    options = Options(k=int(found["k"]), top_p=float(found["top_p"]), temperature=float(found["temperature"]))
    return found["method"], options, found["choice_prior"] or "none"


def routing_defaults(connection: psycopg.Connection[Any]) -> dict[str, float]:
    """Name → value of every option that a case may leave to the database."""
    names = [field.name for field in fields(Options)]
    with translate_errors():
        found = connection.execute("select name, value from loradex.settings where name = any (%s)", (names,))
        return dict(sorted(found.fetchall()))


def change_default(connection: psycopg.Connection[Any], name: str, value: float | str) -> None:
    """Make a value the default of jobs to come; an administrator may.

    Raises:
        InvalidArgumentError: It is out of its range.
    """
    with translate_errors():
        connection.execute("select loradex.change_setting(%s, %s)", (name, Jsonb(value)))
