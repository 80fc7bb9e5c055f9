"""`python -m loradex.db.freeze "what changes"`: the next revision, made from the live files that changed.

It copies changed files into `migrations/sql/<revision>.sql`, adds that file's checksum, and writes the
revision and `docs/schema.sql`. `--amend` does so for the newest revision once more, as long as nobody has it.
"""

import argparse
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from loradex.db.sqlfiles import (
    FROZEN,
    LIVE,
    SqlFile,
    as_one_text,
    frozen_revisions,
    live_files,
    newest_frozen,
)

CHECKSUMS = "frozen.sha256"
SCHEMA_HEADER = """\
-- The whole schema of Loradex as one text: roles, types, tables, functions, views, grants, rows.
-- Made from db/sql by `python -m loradex.db.freeze`; change the files there, not this one.

"""
REVISION = '''"""{message}

Revision ID: {revision}
Revises: {before}
"""

from alembic import op

from loradex.db.revisions import restore_frozen, run_frozen

revision = "{revision}"
down_revision = "{before}"
branch_labels = None
depends_on = None


def upgrade() -> None:
{by_hand}    run_frozen(op, revision)


def downgrade() -> None:
    restore_frozen(op, revision)
'''


@dataclass(frozen=True)
class Frozen:
    """What a call of `freeze` did."""

    revision: str
    changed: list[SqlFile]

    @property
    def by_hand(self) -> list[SqlFile]:
        """Files whose change must be written into the revision, since they cannot be run again."""
        return [file for file in self.changed if not file.replaceable]


def freeze(message: str, *, amend: bool, live: Path = LIVE, frozen: Path = FROZEN) -> Frozen | None:
    """Freeze what changed since the newest revision; None where nothing did."""
    revisions = frozen_revisions(frozen)
    number = len(revisions) if amend else len(revisions) + 1
    revision = revisions[-1] if amend else f"{number:04d}_{_slug(message)}"
    before = newest_frozen(before=revision if amend else None, directory=frozen)
    changed = [file for file in live_files(live) if before.get(file.path) != file]
    if not changed:
        return None
    text = as_one_text(changed)
    (frozen / f"{revision}.sql").write_text(text, encoding="utf-8")
    _write_checksum(frozen, revision, text)
    done = Frozen(revision, changed)
    place = frozen.parent / "versions" / f"{revision}.py"
    if not place.exists():
        notes = "".join(f"    # By hand: change what {file.path} declares\n" for file in done.by_hand)
        place.write_text(
            REVISION.format(
                message=message, revision=revision, before=revisions[-1] if revisions else "", by_hand=notes
            ),
            encoding="utf-8",
        )
    return done


def schema_text(live: Path = LIVE) -> str:
    """The whole schema as one text."""
    return SCHEMA_HEADER + as_one_text(live_files(live))


def _slug(message: str) -> str:
    words = re.findall(r"[a-z0-9]+", message.lower())[:4]
    return "_".join(words)[:27]  # Alembic keeps 32 characters


def _write_checksum(frozen: Path, revision: str, text: str) -> None:
    path = frozen / CHECKSUMS
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    kept = [line for line in lines if not line.endswith(f"  {revision}.sql")]
    kept.append(f"{hashlib.sha256(text.encode()).hexdigest()}  {revision}.sql")
    path.write_text("\n".join(sorted(kept, key=lambda line: line[66:])) + "\n", encoding="utf-8")


def main() -> None:
    """Freeze, and say what is left to write."""
    parser = argparse.ArgumentParser(prog="python -m loradex.db.freeze", description=__doc__)
    parser.add_argument("message", nargs="?", default="", help="What the revision changes, in a few words.")
    parser.add_argument("--amend", action="store_true", help="Freeze the newest revision once more.")
    chosen = parser.parse_args()
    if not chosen.amend and not chosen.message:
        parser.error("say in a few words what changes")
    done = freeze(chosen.message, amend=chosen.amend)
    schema = LIVE.resolve().parents[1] / "docs" / "schema.sql"
    if schema.parent.is_dir():
        schema.write_text(schema_text(), encoding="utf-8")
    if done is None:
        print("nothing changed since the newest revision")  # noqa: T201
        return
    print(f"{done.revision}: {', '.join(file.path for file in done.changed)}")  # noqa: T201
    if done.by_hand and len(done.changed) < len(live_files()):
        print(f"write by hand into migrations/versions/{done.revision}.py what changes in:")  # noqa: T201
        print("\n".join(f"  {file.path}" for file in done.by_hand))  # noqa: T201


if __name__ == "__main__":
    main()
