"""The SQL that people read (`db/sql`) and its frozen copies that migrations run (`migrations/sql`)."""

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import TextClause, text

from db.settings import REPOSITORY

LIVE = REPOSITORY / "db" / "sql"
FROZEN = REPOSITORY / "migrations" / "sql"
DIRECTORIES = ("functions", "views")


@dataclass(frozen=True)
class SqlFile:
    """One live file: `name` is the object it makes, `kind` the folder it lies in."""

    kind: str
    name: str
    path: Path

    @property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")


def live_files(directory: Path = LIVE) -> list[SqlFile]:
    """Every live file: the loose ones (`types.sql`, `roles.sql`), then functions, then views, by name."""
    loose = [SqlFile("loose", path.stem, path) for path in sorted(directory.glob("*.sql"))]
    return loose + [
        SqlFile(kind, path.stem, path)
        for kind in DIRECTORIES
        for path in sorted((directory / kind).glob("*.sql"))
    ]


def frozen_text(name: str, directory: Path = FROZEN) -> str:
    """The frozen copy a revision runs, such as `0001_enqueue_jobs.sql`."""
    return (directory / name).read_text(encoding="utf-8")


def newest_frozen(name: str, directory: Path = FROZEN) -> Path:
    """The frozen copy with the highest number of the live file `name`."""
    copies = sorted(directory.glob(f"[0-9][0-9][0-9][0-9]_{name}.sql"))
    if not copies:
        raise FileNotFoundError(
            f"{directory} holds no copy of {name}.sql: freeze it and run it in a revision"
        )
    return copies[-1]


def as_statement(sql: str) -> str:
    """The text for `sqlalchemy.text`, which would take `:name` for a parameter."""
    return sql.replace(":", r"\:")


def frozen_statement(name: str) -> TextClause:
    """The frozen copy, ready for `op.execute`."""
    return text(as_statement(frozen_text(name)))
