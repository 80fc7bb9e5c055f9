"""Who connects: logins, people after a restore, workers."""

from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import psycopg

from loradex.db.logins import GROUPS
from loradex.service.doctor.symptom import Symptom

Connection = psycopg.Connection[tuple[Any, ...]]

LOGINS = """
    select m.rolname::text, g.rolname::text, bool_or(a.set_option or a.admin_option) as becomes,
           m.rolconnlimit < 0 as unlimited,
           coalesce(m.rolconfig, '{}')::text not like '%%statement_timeout%%' as endless
    from pg_auth_members a
    join pg_roles g on g.oid = a.roleid
    join pg_roles m on m.oid = a.member
    where g.rolname = any (%s) and m.rolcanlogin and not m.rolsuper
      and (a.inherit_option or a.set_option or not m.rolcreaterole)
    group by m.oid, m.rolname, m.rolconnlimit, m.rolconfig, g.rolname
    order by 1, 2"""
"""Whoever may create roles and made the groups may administer them, and is no login of theirs."""
RESTORED = """
    select o.name from loradex.owners o join pg_roles r on r.rolname = o.name
    where o.role <> 0 and not exists (select from loradex.owners n where n.name = o.name and n.role = r.oid)
    order by 1"""
WORKERS = (
    "select name, version from loradex.worker_health where living and version is distinct from %s order by 1"
)


def logins(connection: Connection) -> Iterator[Symptom]:
    rows = connection.execute(LOGINS, ([group.name for group in GROUPS],)).fetchall()
    bad = 0
    for name, group, becomes, unlimited, endless in rows:
        faults = [
            text
            for is_so, text in (
                (becomes, f"may become {group} or give it away"),
                (unlimited, "has no limit of connections"),
                (endless, "has no timeouts"),
            )
            if is_so
        ]
        if faults:
            bad += 1
            cure = f"run `loradex db login {name} --role {group.removeprefix('loradex_')}`"
            yield Symptom(f"login {name}", "ill" if becomes else "look", ", ".join(faults), cure)
    if not bad:
        yield Symptom("logins", "well", f"{len(rows)}, each with limits")


def restored(connection: Connection) -> Iterator[Symptom]:
    lost = [str(name) for (name,) in connection.execute(RESTORED).fetchall()]
    if not lost:
        yield Symptom("restored logins", "well", "every login that asked before has its rows")
        return
    yield Symptom(
        "restored logins",
        "look",
        f"do not see what was asked under their names before: {', '.join(lost[:10])}",
        "right where they are other people; after a restore by hand, restore with `loradex db restore` instead",
    )


def workers(connection: Connection) -> Iterator[Symptom]:
    here = version("loradex")
    other = connection.execute(WORKERS, (here,)).fetchall()
    for name, its in other:
        yield Symptom(
            f"worker {name}", "look", f"runs Loradex {its}, here is {here}", "start it again after an upgrade"
        )
    if not other:
        yield Symptom("versions of workers", "well", f"all that live run Loradex {here}, as here")
