"""What a login that has no more than its role may do to others: nothing that stops, fills or reads them."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from tests.fix_db import PASSWORD, ROLES, RoleUrl, new_database, with_database, with_user
from tests.world import World

from loradex.db import migrate
from loradex.db.logins import group_named, set_logins
from loradex.db.session import connect
from loradex.embedded import EmbeddedPostgres

LOCK_MODES = (
    *("access share", "row share", "row exclusive", "share update exclusive", "share", "share row exclusive"),
    *("exclusive", "access exclusive"),
)
OLD_KEYS = (
    "hashtext('loradex'), hashtext('answer chain')",
    "hashtext('loradex'), hashtext('queue')",
    "hashtext('loradex migrations')",
)


@pytest.fixture
def tenant(postgres: EmbeddedPostgres, database_url: str) -> Iterator[Callable[..., str]]:
    """Makes tenants: by our command, or plainly by `create role ... in role`, which also lets them take the role on."""
    made: list[str] = []

    def make(*, plain: bool = False) -> str:
        name = f"tenant_{uuid4().hex[:12]}"
        made.append(name)
        if plain:
            with connect(postgres.url) as admin:
                admin.execute(
                    f"create role {name} login password '{PASSWORD}' in role loradex_client".encode()
                )
        else:
            set_logins(postgres.url, {name: (group_named("client"), PASSWORD)})
        return with_user(database_url, name)

    yield make
    with connect(postgres.url) as admin:
        for name in made:
            admin.execute(f"drop role {name}".encode())
        admin.execute("alter role loradex_client password null")
        admin.execute("alter role loradex_client reset all")


def name_in(url: str) -> str:
    return url.split("//")[1].split(":", maxsplit=1)[0]


@pytest.mark.parametrize("plain", [False, True])
def test_a_tenant_does_not_take_the_group_over(world: World, tenant: Callable[..., str], plain: bool) -> None:
    """A group nobody logs in as: a password for it opens nothing, a setting of it reaches nobody."""
    url = tenant(plain=plain)
    with connect(url) as connection:
        for statement in (
            "set role loradex_client",
            "alter role loradex_client password 'taken'",
            "alter role loradex_client set statement_timeout = '1ms'",
            "alter role loradex_client login",
        ):
            try:
                connection.execute(statement.encode())
            except psycopg.errors.InsufficientPrivilege:
                assert not plain or "login" in statement
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url.replace(f"{name_in(url)}:{PASSWORD}", "loradex_client:taken"))
    with connect(tenant()) as other:
        assert other.execute("show statement_timeout").fetchone() == ("1min",)
    assert world.value("select rolcanlogin from pg_roles where rolname = 'loradex_client'") is False


@pytest.mark.parametrize("plain", [False, True])
def test_tenants_do_not_reach_one_another(world: World, tenant: Callable[..., str], plain: bool) -> None:
    mine, theirs = tenant(plain=plain), tenant(plain=plain)
    other = name_in(theirs)
    with connect(theirs) as victim, connect(mine) as attacker:
        pid = victim.info.backend_pid
        for statement in (
            f"select pg_terminate_backend({pid})",
            f"select pg_cancel_backend({pid})",
            f"alter role {other} password 'taken'",
            f"alter role {other} set statement_timeout = '1ms'",
            f"alter role {other} connection limit 0",
            f"set role {other}",
            f"drop role {other}",
            f"grant {other} to current_user",
            f"reassign owned by {other} to current_user",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                attacker.execute(statement.encode())
        victim.execute("select 'a secret of the other tenant'")
        seen = attacker.execute("select query from pg_stat_activity where pid = %s", (pid,)).fetchone()
        assert seen is not None
        assert "secret" not in str(seen[0])
        assert victim.execute("select 1").fetchone() == (1,)


@pytest.mark.parametrize("role", ROLES)
def test_no_login_fills_the_memory_of_locks(role_url: RoleUrl, role: str) -> None:
    """All sessions share it, and advisory locks need neither a table nor a transaction."""
    with connect(role_url(role)) as attacker:
        for function in ("pg_advisory_lock", "pg_try_advisory_lock", "pg_advisory_xact_lock_shared"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                attacker.execute(f"select {function}(n) from generate_series(1, 100000) n".encode())


@pytest.mark.parametrize("role", ROLES)
def test_no_lock_a_login_can_take_stops_anybody(
    world: World, role_url: RoleUrl, database_url: str, role: str
) -> None:
    """Nobody is answered, enqueues or upgrades through a lock that every login may hold."""
    holding = connect(role_url(role))
    with holding:
        holding.execute("set statement_timeout = 0")
        for keys in OLD_KEYS:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                holding.execute(f"select pg_advisory_lock({keys})".encode())
        holding.execute("begin")
        tables = [
            row[0]
            for row in world.rows(
                "select 'loradex.' || c.relname from pg_class c "
                "where c.relnamespace = 'loradex'::regnamespace and c.relkind = 'r'"
            )
        ]
        taken = set()
        for table in tables:
            for statement in (
                *(f"lock table {table} in {mode} mode nowait" for mode in LOCK_MODES),
                f"select 1 from {table} for key share",
                f"select 1 from {table} for update",
            ):
                try:
                    with holding.transaction():
                        holding.execute(statement.encode())
                    taken.add(
                        (table.removeprefix("loradex."), statement.split(" in ")[-1].split(" for ")[-1])
                    )
                except psycopg.errors.InsufficientPrivilege:
                    continue
        assert not {table for table, _ in taken} & {"chain_lock", "queue_lock", "migration_lock", "routings"}
        if role != "loradex_admin":
            assert {mode for _, mode in taken} == {"access share mode nowait"}
        world.connection.execute("set lock_timeout = '2s'")
        if role != "loradex_admin":
            assert len(world.answered({}, {})) == 2
        else:
            # The administrator fills the library and may keep it to itself, yet not the queue.
            assert world.enqueue({})
        migrate.upgrade(database_url)
        holding.execute("rollback")


@pytest.fixture(scope="module")
def migrated(postgres: EmbeddedPostgres, template: str) -> Iterator[str]:
    """A database that was migrated itself: what a database grants is not copied with it."""
    with new_database(postgres, "template0") as url:
        migrate.upgrade(url)
        yield url


@pytest.mark.parametrize("role", ROLES)
def test_what_fills_a_disk_is_not_a_logins(migrated: str, role: str) -> None:
    with connect(with_user(migrated, role)) as connection:
        for statement in (
            "create temporary table filling as select 1",
            "select lo_create(0)",
            "select lo_from_bytea(0, 'x')",
            "select pg_logical_emit_message(true, 'x', 'x')",
            "create table public.filling (id int)",
            "create schema filling",
            "copy (select 1) to '/tmp/filling'",
            "copy (select 1) to program 'cat'",
            "select pg_read_file('/etc/passwd')",
            "create extension dblink",
        ):
            with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.FeatureNotSupported)):
                connection.execute(statement.encode())


def test_what_is_open_to_everybody(migrated: str) -> None:
    """Of the database: to connect. Of the functions that write: none."""
    with connect(migrated) as connection:
        granted = connection.execute(
            "select a.privilege_type from pg_database d, aclexplode(d.datacl) a "
            "where d.datname = current_database() and a.grantee = 0"
        ).fetchall()
        writing = connection.execute(
            "select p.oid::regprocedure from pg_proc p where p.pronamespace = 'pg_catalog'::regnamespace "
            "and p.proname in ('lo_creat', 'lo_create', 'lo_from_bytea', 'lo_put', 'lowrite', "
            "'pg_logical_emit_message') and has_function_privilege('public', p.oid, 'execute')"
        ).fetchall()
        schema = connection.execute("select has_schema_privilege('public', 'loradex', 'usage')").fetchone()
    assert (granted, writing, schema) == ([("CONNECT",)], [], (False,))


def test_a_database_that_others_use_keeps_what_they_may_need(empty_database_url: str) -> None:
    with connect(empty_database_url) as connection:
        connection.execute("create table public.theirs (id int)")
    migrate.upgrade(empty_database_url)
    with connect(empty_database_url) as connection:
        row = connection.execute(
            "select has_database_privilege('public', current_database(), 'temporary')"
        ).fetchone()
    assert row == (True,)


@pytest.mark.parametrize("role", ROLES)
def test_a_login_has_limits_of_its_own(world: World, role_url: RoleUrl, role: str) -> None:
    group = group_named(role)
    with connect(role_url(role)) as connection:
        found = {
            name: connection.execute("select current_setting(%s)", (name,)).fetchone()
            for name in group.settings
        }
        assert found == {name: (value,) for name, value in group.settings.items()}
        assert connection.execute("show temp_file_limit").fetchone() == ("2GB",)
        limit = connection.execute(
            "select rolconnlimit from pg_roles where rolname = current_user"
        ).fetchone()
        assert limit == (group.connections,)


def fill_notifications(connection: psycopg.Connection[Any]) -> None:
    for _ in range(10_000):
        connection.execute(
            "select pg_notify('elsewhere', repeat('x', 7000) || n) from generate_series(1, 20) n"
        )


def test_a_full_queue_of_notifications_keeps_no_answer(tmp_path: Any) -> None:
    """Any session may fill it while another listens and dawdles; a server of this test's own, with a small queue."""
    server = EmbeddedPostgres(tmp_path, durable=False)
    server.start()
    try:
        with connect(server.url) as admin:
            admin.execute("alter system set max_notify_queue_pages = 64")
        server.stop()
        url = with_database(server.start(), "postgres")
        migrate.upgrade(url)
        with connect(url) as connection, connect(url) as dawdling, connect(url) as filling:
            world = World.stocked(connection, examples=2)
            dawdling.execute("listen elsewhere")
            dawdling.execute("begin")
            dawdling.execute("select 1")
            with pytest.raises(psycopg.Error, match="NOTIFY queue"):
                fill_notifications(filling)
            assert world.value("select pg_notification_queue_usage()") > 0.5
            started = time.monotonic()
            assert len(world.answered({}, {})) == 2
            (job,) = world.enqueue({})
            attempt = world.claim()[job]
            world.rows("select loradex.fail_job(%s, %s, 'no_reason', 'none')", job, attempt)
            assert time.monotonic() - started < 10
            dawdling.execute("rollback")
    finally:
        server.destroy()


def test_two_sessions_that_enqueue_much_wait_for_each_other_and_no_longer(
    world: World, database_url: str
) -> None:
    """The exclusive lock of the queue is waited for 5 s at most; then the caller is told."""
    told: list[str] = []

    def second() -> None:
        with connect(database_url) as connection:
            try:
                connection.execute("select loradex.enqueue_jobs(%s)", (jobs,))
            except psycopg.Error as error:
                told.append(error.sqlstate or "")

    jobs = "[" + ",".join(['{"prompt": "x"}'] * 2000) + "]"
    with world.connection.transaction():
        world.rows("select loradex.enqueue_jobs(%s)", jobs)
        waiting = threading.Thread(target=second)
        waiting.start()
        waiting.join(timeout=20)
    assert told == ["LX008"]


def test_who_waits_is_told_for_whom(world: World, database_url: str, role_url: RoleUrl) -> None:
    with connect(database_url, application="the holder") as holder, connect(database_url) as waiter:
        holder.execute("begin")
        holder.execute("lock table loradex.chain_lock in exclusive mode")
        waiter.execute("set lock_timeout = '4s'")
        waiting = threading.Thread(target=refused_lock, args=(waiter,))
        waiting.start()
        with connect(role_url("loradex_reader")) as reader:
            deadline = time.monotonic() + 3
            found: list[tuple[Any, ...]] = []
            while not found and time.monotonic() < deadline:
                found = reader.execute(
                    "select waiting_pid, waits_for, blocking_pid, blocking_program, blocking_state "
                    "from loradex.blocked_sessions()"
                ).fetchall()
            health = reader.execute(
                "select blocked_sessions, blocked_by from loradex.queue_health"
            ).fetchone()
        waiting.join()
        assert len(found) == 1
        assert (found[0][0], found[0][2]) == (waiter.info.backend_pid, holder.info.backend_pid)
        assert "chain_lock" in found[0][1]
        assert found[0][3:] == ("the holder", "idle in transaction")
        assert health is not None
        assert health[0] == 1
        assert "the holder" in health[1]
        holder.execute("rollback")


def refused_lock(connection: psycopg.Connection[Any]) -> None:
    with pytest.raises(psycopg.errors.LockNotAvailable), connection.transaction():
        connection.execute("lock table loradex.chain_lock in exclusive mode")
