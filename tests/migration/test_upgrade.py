"""A new version's revision runs while a worker of the version before answers; nobody loses anything."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic.script import ScriptDirectory
from psycopg import sql
from tests.fix_answering import Stack
from tests.until import until

from loradex.db import migrate, session_settings
from loradex.db.session import connect

PROMPT = "The soup boils over. Is the flame too high?"
JOBS = 40
REVISION = "9999_made_up"
MADE_UP = '''
"""A made-up next revision: new columns, every function and view once more, a new function."""

from alembic import op

from loradex.db.sqlfiles import as_statement, live_files

revision = "{revision}"
down_revision = "{newest}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("alter table loradex.jobs add column made_up text")
    op.execute("alter table loradex.workers add column made_up int")
    op.execute("alter table loradex.routings add column made_up int")
    for file in live_files():
        if file.replaceable:
            op.execute(as_statement(file.text))
    op.execute("select pg_sleep(0.5)")
    op.execute("create function loradex.made_up() returns int language sql as 'select 1'")


def downgrade() -> None:
    op.execute("drop function loradex.made_up()")
    for table in ("jobs", "workers", "routings"):
        op.execute(f"alter table loradex.{table} drop column made_up")
'''


@pytest.fixture
def next_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The revision of a version that does not exist; from now on it is the newest."""
    config = migrate.alembic_config
    newest = ScriptDirectory.from_config(config()).get_current_head()
    assert newest is not None
    versions = tmp_path / "versions"
    versions.mkdir()
    made_up = MADE_UP.replace("{revision}", REVISION).replace("{newest}", newest)
    (versions / f"{REVISION}.py").write_text(made_up)

    def with_next() -> Any:
        made = config()
        script = Path(
            made.get_main_option("script_location").replace(
                "%(here)s", str(Path(made.config_file_name).parent)
            )
        )
        made.set_main_option("path_separator", "newline")
        made.set_main_option("version_locations", f"{script / 'versions'}\n{versions}")
        return made

    monkeypatch.setattr(migrate, "alembic_config", with_next)
    return REVISION


def test_a_worker_of_before_answers_through_an_upgrade(stack: Stack, next_version: str) -> None:
    worker = stack.worker(BATCH_ROWS="4").start()
    with stack.client() as client:
        early = client.enqueue_many([{"prompt": PROMPT, "max_new_tokens": 3}] * JOBS)
        early[0].wait(timeout=60)  # it is in the middle of the others
        migrate.upgrade(stack.database_url)
        assert migrate.current_revision(stack.database_url) == next_version
        late = client.enqueue_many([{"prompt": PROMPT, "choices": ["yes", "no"]}] * 5)
        answers = [job.wait(timeout=120) for job in (*early, *late)]
    assert len({answer.answer_id for answer in answers}) == JOBS + 5
    assert worker.alive
    with connect(stack.database_url) as connection:
        states = connection.execute("select state::text, count(*) from loradex.jobs group by 1").fetchall()
        assert states == [("done", JOBS + 5)]
        assert connection.execute("select count(*) from loradex.verify_audit_chain()").fetchone() == (0,)

    # A function that is gone is not the worker's end: it says so, and goes on when it can.
    start = worker.said
    with connect(stack.database_url) as connection, stack.client() as client:
        rename = "alter function loradex.{} rename to {}"
        connection.execute(rename.format("route_jobs", "route_jobs_anew").encode())
        job = client.enqueue(PROMPT, max_new_tokens=2)
        worker.wait_for("route_jobs", seconds=30, start=start)
        worker.wait_for("another version", start=start)
        assert worker.alive
        connection.execute(rename.format("route_jobs_anew", "route_jobs").encode())
        assert job.wait(timeout=90).text is not None


def test_an_upgrade_waits_for_a_session_that_holds_a_table(
    database_url: str, next_version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One transaction that lasts longer than a lock may be waited for does not end the upgrade."""
    holder = psycopg.connect(database_url)
    holder.execute("lock table loradex.jobs in share mode")
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        holder.close()

    monkeypatch.setattr(migrate, "LOCK_TIMEOUT", "100ms")
    monkeypatch.setattr(migrate, "sleep", pause)
    migrate.upgrade(database_url)
    assert pauses == [migrate.PAUSE_SECONDS]
    assert migrate.current_revision(database_url) == next_version


def test_limits_of_the_database_do_not_end_an_upgrade(
    database_url: str, next_version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A revision takes as long as it takes, and so does the migrator before."""
    monkeypatch.setattr(session_settings, "AT_LEAST", {})
    with (
        connect(database_url) as connection,
        connect(database_url) as watcher,
        ThreadPoolExecutor(1) as aside,
    ):
        for limit in ("transaction_timeout", "idle_session_timeout", "idle_in_transaction_session_timeout"):
            connection.execute(
                sql.SQL("alter database {} set {} = 200").format(
                    sql.Identifier(connection.info.dbname), sql.Identifier(limit)
                )
            )
        with connection.transaction():
            connection.execute("lock table loradex.migration_lock in exclusive mode")
            done = aside.submit(migrate.upgrade, database_url)
            until(
                lambda: watcher.execute(
                    "select from pg_stat_activity where %s = any (pg_blocking_pids(pid))",
                    (connection.info.backend_pid,),
                ).fetchall()
            )
            # The migrator that waits is idle for longer than a session may be.
            connection.execute("select pg_sleep(0.5)")
        done.result()
    assert migrate.current_revision(database_url) == next_version
