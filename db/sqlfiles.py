"""The SQL that people read (`db/sql`) and the frozen texts that revisions run (`migrations/sql`).

A frozen text is one file per revision: copies of live files, each under a line that names it. So the newest
frozen copy of every live file is known, and a downgrade finds the one before.
"""

import hashlib
import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from sqlalchemy import TextClause, text

LIVE = Path(str(files("loradex.db") / "sql"))
FROZEN = Path(str(files("loradex.migrations") / "sql"))

TABLES = (
    "owners",
    "api_keys",
    "api_key_rates",
    "tenant_secret",
    "base_models",
    "base_model_aliases",
    "encoders",
    "tasks",
    "methods",
    "settings",
    "adapters",
    "task_affinities",
    "examples",
    "example_embeddings",
    "projections",
    "projected_examples",
    "jobs",
    "answers",
    "erasures",
    "archives",
    "verifications",
    "evaluations",
    "feedback",
    "routings",
    "locks",
    "workers",
    "embeddings",
    "replays",
)
"""In the order in which they can be made: a table comes after those it refers to."""

ORDER = (
    "extension.sql",
    "roles.sql",
    "types.sql",
    *(f"tables/{name}.sql" for name in TABLES),
    "functions/*.sql",
    "views/*.sql",
    "grants.sql",
    "policies.sql",
    "public.sql",
    "rows/*.sql",
)
"""The live files in the order in which an empty database runs them."""

SECTION = re.compile(r"^-- file: (\S+)\n", re.MULTILINE)
REPLACEABLE = ("functions", "views")
"""Kinds that can be run again over what is there; a table or a type is changed by hand in its revision."""


@dataclass(frozen=True)
class SqlFile:
    """One live file, or the frozen copy of one.

    Attributes:
        path: Relative to `db/sql`, such as `functions/explain.sql`.
        text: What is in it.
    """

    path: str
    text: str

    @property
    def name(self) -> str:
        """The object it makes, such as `explain`."""
        return Path(self.path).stem

    @property
    def kind(self) -> str:
        """The folder it lies in, such as `functions`; empty for files like `roles.sql`."""
        return Path(self.path).parent.as_posix().strip(".")

    @property
    def replaceable(self) -> bool:
        """Whether it can be run again over what is there."""
        return self.kind in REPLACEABLE


def live_files(directory: Path = LIVE) -> list[SqlFile]:
    """Every live file, in the order in which an empty database runs them."""
    return [
        SqlFile(path.relative_to(directory).as_posix(), path.read_text(encoding="utf-8"))
        for pattern in ORDER
        for path in sorted(directory.glob(pattern))
    ]


def as_one_text(sections: list[SqlFile]) -> str:
    """Files one after the other, each under a line that names it."""
    return "\n".join(f"-- file: {section.path}\n{section.text}" for section in sections)


def frozen_sections(revision: str, directory: Path = FROZEN) -> list[SqlFile]:
    """The files that a revision froze, in order; none if it froze nothing."""
    path = directory / f"{revision}.sql"
    if not path.exists():
        return []
    parts = SECTION.split(path.read_text(encoding="utf-8"))
    return [
        SqlFile(name, body.rstrip("\n") + "\n") for name, body in zip(parts[1::2], parts[2::2], strict=True)
    ]


def frozen_digest(revision: str, directory: Path = FROZEN) -> str | None:
    """SHA-256 in hex of what a revision froze; None if it froze nothing."""
    path = directory / f"{revision}.sql"
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None


def frozen_revisions(directory: Path = FROZEN) -> list[str]:
    """Ids of the revisions that froze something, oldest first."""
    return sorted(path.stem for path in directory.glob("*.sql"))


def newest_frozen(*, before: str | None = None, directory: Path = FROZEN) -> dict[str, SqlFile]:
    """Path of a live file → its newest frozen copy, of the revisions before one where that is given."""
    newest: dict[str, SqlFile] = {}
    for revision in frozen_revisions(directory):
        if before is None or revision < before:
            newest |= {section.path: section for section in frozen_sections(revision, directory)}
    return newest


def as_statement(sql: str) -> TextClause:
    """The text, ready for `op.execute`: `sqlalchemy.text` would take `:name` for a parameter."""
    return text(sql.replace(":", r"\:"))
