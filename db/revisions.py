"""What a revision does with its frozen text: run it, or bring back what was there before."""

from typing import Any

from loradex.db.sqlfiles import (
    SqlFile,
    as_statement,
    frozen_digest,
    frozen_revisions,
    frozen_sections,
    newest_frozen,
)

LOAD_PGVECTOR = "select '[1]'::public.vector"
"""Only then may a plain owner set its parameters on a function."""


def run_frozen(op: Any, revision: str) -> None:
    """Run the functions and views that a revision froze; a first one, on an empty database, runs everything.

    `op` is Alembic's.
    """
    sections = frozen_sections(revision)
    first = not newest_frozen(before=revision)
    if not first:
        op.execute(LOAD_PGVECTOR)
    _run(op, [section for section in sections if first or section.replaceable])
    _note(op, revision)


def restore_frozen(op: Any, revision: str) -> None:
    """Bring functions and views back as they were before a revision; what it made first is dropped."""
    op.execute(LOAD_PGVECTOR)
    before = newest_frozen(before=revision)
    sections = [section for section in frozen_sections(revision) if section.replaceable]
    for section in reversed(sections):
        if section.path not in before:
            op.execute(f"drop {section.kind.removesuffix('s')} loradex.{section.name} cascade")
    _run(op, [before[section.path] for section in sections if section.path in before])
    _note(op, max(earlier for earlier in frozen_revisions() if earlier < revision))


def _note(op: Any, revision: str) -> None:
    # For whoever comes with a text of that name that was amended since: see migrate.SchemaState.
    op.execute(f"comment on table loradex.alembic_version is '{frozen_digest(revision)}'")


def _run(op: Any, sections: list[SqlFile]) -> None:
    # A body may call a function that a later file makes.
    op.execute("set local check_function_bodies = off")
    for section in sections:
        op.execute(as_statement(section.text))
