"""Who may what: the database as this release left it, its groups, and what everybody may."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import psycopg

from loradex.db.logins import GROUPS
from loradex.service.audit.release import Release
from loradex.service.doctor.symptom import Symptom

Connection = psycopg.Connection[tuple[Any, ...]]

SHOWN = 5
OPEN = """
    select has_database_privilege('public', current_database(), 'TEMPORARY') as temporary,
           has_function_privilege('public', 'pg_catalog.lo_create(oid)', 'EXECUTE') as objects"""


def differences(connection: Connection) -> Iterator[Symptom]:
    found = [one.reason for one in islice(Release.installed().findings(connection), SHOWN + 1)]
    for reason in found[:SHOWN]:
        cure = "run `loradex db upgrade`; if it stays, somebody changed it: `loradex audit verify`"
        yield Symptom("functions, triggers, grants", "ill", reason, cure)
    if not found:
        yield Symptom("functions, triggers, grants", "well", "as this release made them")


def groups(connection: Connection) -> Iterator[Symptom]:
    names = [group.name for group in GROUPS]
    rows = connection.execute(
        "select rolname::text, rolcanlogin from pg_roles where rolname = any (%s)", (names,)
    )
    found: dict[str, bool] = dict(rows.fetchall())
    for name in names:
        if found.get(name) is not False:
            note = "may log in" if name in found else "is missing"
            yield Symptom(
                f"group {name}", "ill", note, f"create or alter role {name} nologin, as a superuser"
            )
    if len(found) == len(names) and not any(found.values()):
        yield Symptom("groups", "well", "four, and nobody logs in as one")


def public(connection: Connection) -> Iterator[Symptom]:
    temporary, objects = connection.execute(OPEN).fetchone() or (False, False)
    if not temporary and not objects:
        yield Symptom("PUBLIC", "well", "may neither make temporary tables nor large objects here")
        return
    what = " and ".join(
        text for may, text in ((temporary, "temporary tables"), (objects, "large objects")) if may
    )
    yield Symptom(
        "PUBLIC",
        "look",
        f"every login may make {what}, and so fill the disk",
        "give Loradex a database of its own, or revoke it there (SECURITY.md, `db/sql/public.sql`)",
    )
