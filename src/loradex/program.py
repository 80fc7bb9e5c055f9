"""Which program this is, as Postgres is told: `application_name` tells clients, workers and commands apart."""

from contextvars import ContextVar

PROGRAM: ContextVar[str | None] = ContextVar("loradex program", default=None)
"""Such as `loradex ask`; set where a program begins."""


def program_name(default: str = "loradex") -> str:
    """The name of the program that runs, or `default` where none said its name."""
    return PROGRAM.get() or default
