"""The two roads to the schema meet: an empty database that runs the live files, and one that is migrated."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import text
from tests.fix_db import with_user
from tests.repository import ROOT

from loradex.db import migrate
from loradex.db.freeze import CHECKSUMS, freeze, schema_text
from loradex.db.session import connect, engine
from loradex.db.sqlfiles import FROZEN, LIVE, as_statement, frozen_revisions, live_files, newest_frozen
from loradex.errors import PermissionRefusedError, SchemaOutdatedError

GENERATED = {"search_vectors"}
"""Made by build_search from the encoders that are there."""

OBJECTS = """
    select p.oid::regprocedure::text, pg_get_functiondef(p.oid), obj_description(p.oid, 'pg_proc'),
           p.proacl::text
    from pg_proc p where p.pronamespace = 'loradex'::regnamespace and p.proname <> all (%(generated)s)
    union all
    select c.oid::regclass::text,
           case when c.relkind = 'v' then pg_get_viewdef(c.oid)
                else concat_ws(' ', c.relkind, c.relrowsecurity) end,
           obj_description(c.oid, 'pg_class'), c.relacl::text
    from pg_class c where c.relnamespace = 'loradex'::regnamespace and c.relkind in ('r', 'p', 'v', 'c')
      and c.relname <> all (array['alembic_version', 'migration_lock'])
    union all
    select a.attrelid::regclass || '.' || a.attname,
           concat_ws(' ', a.attnum, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,
                     pg_get_expr(d.adbin, d.adrelid)),
           col_description(a.attrelid, a.attnum), a.attacl::text
    from pg_attribute a join pg_class c on c.oid = a.attrelid
    left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
    where c.relnamespace = 'loradex'::regnamespace and c.relkind in ('r', 'p', 'c') and a.attnum > 0
      and not a.attisdropped and c.relname <> all (array['alembic_version', 'migration_lock'])
    union all
    select k.conrelid::regclass || ' ' || k.conname, pg_get_constraintdef(k.oid), null, null
    from pg_constraint k where k.connamespace = 'loradex'::regnamespace and k.conname not like 'alembic%%'
    union all
    select i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid), null, null
    from pg_index i join pg_class c on c.oid = i.indrelid
    where c.relnamespace = 'loradex'::regnamespace and c.relname <> all (array['alembic_version', 'migration_lock'])
    union all
    select p.polrelid::regclass || ' ' || p.polname,
           concat_ws(' ', p.polcmd, p.polroles::regrole[], pg_get_expr(p.polqual, p.polrelid)), null, null
    from pg_policy p
    union all
    select t.tgrelid::regclass || ' ' || t.tgname, pg_get_triggerdef(t.oid),
           obj_description(t.oid, 'pg_trigger'), null
    from pg_trigger t join pg_class c on c.oid = t.tgrelid
    where c.relnamespace = 'loradex'::regnamespace and not t.tgisinternal
    order by 1"""


def snapshot(connection: psycopg.Connection[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return connection.execute(OBJECTS, {"generated": list(GENERATED)}).fetchall()


def test_live_files_make_what_revisions_make(connection: Any, empty_database_url: str) -> None:
    """Drift: whoever edits a live file must freeze it, and write into the revision what a table changes."""
    with connect(empty_database_url) as fresh:
        fresh.execute("create schema loradex")
        fresh.execute("set check_function_bodies = off")
        for file in live_files():
            fresh.execute(file.text)
        assert snapshot(fresh) == snapshot(connection)


def test_live_files_can_be_run_again(connection: Any) -> None:
    before = snapshot(connection)
    with connection.transaction(force_rollback=True):
        for file in live_files():
            if file.replaceable:
                connection.execute(file.text)
        assert snapshot(connection) == before


def test_functions_and_views_are_the_live_files(connection: Any) -> None:
    """Orphans: nothing in the schema that no live file makes, and no file that makes nothing."""
    functions = connection.execute(
        "select distinct proname from pg_proc where pronamespace = 'loradex'::regnamespace order by 1"
    ).fetchall()
    views = connection.execute(
        "select relname from pg_class "
        "where relnamespace = 'loradex'::regnamespace and relkind = 'v' order by 1"
    ).fetchall()
    files = live_files()
    assert [row[0] for row in functions if row[0] not in GENERATED] == sorted(
        file.name for file in files if file.kind == "functions"
    )
    assert [row[0] for row in views] == sorted(file.name for file in files if file.kind == "views")


def test_every_live_file_has_a_place_in_the_order() -> None:
    listed = {file.path for file in live_files()}
    assert listed == {path.relative_to(LIVE).as_posix() for path in LIVE.rglob("*.sql")}


def test_the_newest_frozen_copy_is_the_live_file() -> None:
    assert newest_frozen() == {file.path: file for file in live_files()}


def test_frozen_texts_are_never_edited() -> None:
    """`python -m loradex.db.freeze` adds a line to frozen.sha256; a line that is there does not change."""
    lines = (FROZEN / CHECKSUMS).read_text().splitlines()
    listed = dict(reversed(line.split("  ")) for line in lines)
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in FROZEN.glob("*.sql")}
    assert found == listed


def test_the_schema_page_is_the_live_files() -> None:
    assert (ROOT / "docs" / "schema.sql").read_text(encoding="utf-8") == schema_text()


def test_freezing_makes_the_next_revision(tmp_path: Path) -> None:
    live, frozen = tmp_path / "sql", tmp_path / "migrations" / "sql"
    shutil.copytree(LIVE, live)
    shutil.copytree(FROZEN, frozen)
    (tmp_path / "migrations" / "versions").mkdir()
    assert freeze("nothing", amend=False, live=live, frozen=frozen) is None
    with (live / "functions" / "audit_head.sql").open("a") as file:
        file.write("-- changed\n")
    with (live / "tables" / "jobs.sql").open("a") as file:
        file.write("-- a column more\n")
    done = freeze("A quicker head", amend=False, live=live, frozen=frozen)
    assert done is not None
    number = len(frozen_revisions()) + 1
    assert done.revision == f"{number:04d}_a_quicker_head"
    assert [file.path for file in done.changed] == ["tables/jobs.sql", "functions/audit_head.sql"]
    assert [file.path for file in done.by_hand] == ["tables/jobs.sql"]
    written = (tmp_path / "migrations" / "versions" / f"{done.revision}.py").read_text()
    assert "tables/jobs.sql" in written
    compile(written, "revision", "exec")
    assert newest_frozen(directory=frozen)["functions/audit_head.sql"].text.endswith("-- changed\n")
    again = freeze("", amend=True, live=live, frozen=frozen)
    assert again == done


def test_a_database_of_before_the_first_release_is_refused(empty_database_url: str) -> None:
    with connect(empty_database_url) as connection:
        connection.execute("create schema loradex")
        connection.execute("create table loradex.alembic_version (version_num varchar(32) primary key)")
        connection.execute("insert into loradex.alembic_version values ('0018')")
    with pytest.raises(SchemaOutdatedError, match="before the first release"):
        migrate.upgrade(empty_database_url)
    with connect(empty_database_url) as connection:
        connection.execute("update loradex.alembic_version set version_num = '9999_from_the_future'")
    with pytest.raises(SchemaOutdatedError, match="install a newer one"):
        migrate.upgrade(empty_database_url)


@pytest.mark.parametrize("noted", ["null", "'of another text'"])
def test_a_database_whose_revision_was_amended_since_is_refused(database_url: str, noted: str) -> None:
    assert migrate.is_current(database_url)
    with connect(database_url) as connection:
        connection.execute(f"comment on table loradex.alembic_version is {noted}".encode())
    assert not migrate.is_current(database_url)
    with pytest.raises(
        SchemaOutdatedError, match=r"an earlier commit.* cannot be brought over: .*LORADEX_HOME"
    ):
        migrate.upgrade(database_url)


def test_sql_files_have_no_tabs_and_a_header() -> None:
    for file in live_files():
        assert "\t" not in file.text, file.name
        assert file.text.startswith("-- "), file.name
        if file.kind == "functions":
            assert "-- Locks: " in file.text or "Locks: " in file.text, file.name
            assert "Raises: " in file.text, file.name


def test_a_statement_reaches_postgres_byte_for_byte(empty_database_url: str) -> None:
    body = "select ':a', 'b::c', '100 %', '\\d'::text"
    with engine(empty_database_url).connect() as opened:
        opened.execute(as_statement(f"create function f() returns record language sql as $$ {body} $$"))
        stored = opened.execute(text("select prosrc from pg_proc where proname = 'f'")).scalar_one()
    assert stored.strip() == body


def test_up_down_up(empty_database_url: str) -> None:
    assert migrate.current_revision(empty_database_url) is None
    assert not migrate.is_current(empty_database_url)
    migrate.upgrade(empty_database_url)
    assert migrate.is_current(empty_database_url)
    with connect(empty_database_url) as connection:
        first = snapshot(connection)
    migrate.downgrade(empty_database_url, "-1")
    assert not migrate.is_current(empty_database_url)
    migrate.upgrade(empty_database_url)
    with connect(empty_database_url) as connection:
        assert snapshot(connection) == first
    migrate.downgrade(empty_database_url, "base")
    with connect(empty_database_url) as connection:
        left = connection.execute(
            """
            select relname from pg_class
            where relnamespace = 'loradex'::regnamespace and relkind in ('r', 'p', 'v')
            union all select proname from pg_proc where pronamespace = 'loradex'::regnamespace
            union all select typname from pg_type
            where typnamespace = 'loradex'::regnamespace and typtype in ('c', 'd')
            """
        ).fetchall()
        assert {row[0] for row in left} == {"alembic_version", "migration_lock"}
    migrate.upgrade(empty_database_url)
    migrate.upgrade(empty_database_url)
    with connect(empty_database_url) as connection:
        assert snapshot(connection) == first


def test_two_migrators_wait_for_each_other(empty_database_url: str) -> None:
    code = f"from loradex.db.migrate import upgrade; upgrade({empty_database_url!r})"
    migrators = [
        subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.PIPE) for _ in range(2)
    ]
    for migrator in migrators:
        _, complaint = migrator.communicate(timeout=120)
        assert migrator.returncode == 0, complaint.decode()
    assert migrate.is_current(empty_database_url)


def test_the_owner_of_a_fresh_database_needs_no_superuser(
    postgres: Any, empty_database_url: str, template: str
) -> None:
    """Where the roles and the extension are there; pgvector is not trusted: a superuser makes it."""
    name = empty_database_url.rpartition("/")[2]
    with connect(postgres.url) as admin:
        admin.execute("create role plain_owner login password 'for-tests-only'")
        admin.execute(f"alter database {name} owner to plain_owner".encode())
    try:
        with pytest.raises(PermissionRefusedError, match="superuser run `create extension vector"):
            migrate.upgrade(with_user(empty_database_url, "plain_owner"))
        with connect(empty_database_url) as admin:
            admin.execute("create extension vector with schema public")
        migrate.upgrade(with_user(empty_database_url, "plain_owner"))
        assert migrate.is_current(empty_database_url)
    finally:
        with connect(empty_database_url) as admin:
            admin.execute("drop owned by plain_owner cascade")
            admin.execute(f"alter database {name} owner to current_user".encode())
            admin.execute("drop role plain_owner")


@pytest.mark.parametrize(
    "rule",
    [
        "not 'search_path=pg_catalog, loradex, public, pg_temp' = any (coalesce(p.proconfig, '{}'))",
        "0 in (select grantee from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))))",
        "obj_description(p.oid, 'pg_proc') is null",
        "p.proisstrict",
    ],
)
def test_every_function_obeys(world: Any, rule: str) -> None:
    """The search path is pinned, nothing is open to everybody, all is commented, null is judged.

    Generated functions too: the world has an encoder.
    """
    broken = world.rows(
        f"select proname from pg_proc p where p.pronamespace = 'loradex'::regnamespace and {rule}"
    )
    assert broken == []
    assert world.rows("select from pg_proc where proname = 'search_vectors'")


def test_functions_that_write_say_so(connection: Any) -> None:
    """Volatility is stated, so a file without the word is one that forgot."""
    for file in live_files():
        if file.kind == "functions":
            assert any(
                word in file.text for word in ("\nlanguage plpgsql volatile", " stable", " immutable")
            ), file.name


def test_everything_is_commented(connection: Any) -> None:
    bare = connection.execute(
        """
        select c.relname, a.attname
        from pg_class c left join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        where c.relnamespace = 'loradex'::regnamespace and c.relkind in ('r', 'p', 'v')
          and c.relname <> all (array['alembic_version', 'migration_lock'])
          and (obj_description(c.oid, 'pg_class') is null
               or (a.attnum is not null and col_description(c.oid, a.attnum) is null))
        """
    ).fetchall()
    assert bare == []
