"""A new version's revision runs while a worker of the version before answers; nobody loses anything."""

import time
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.fix_answering import Stack

from loradex.db import migrate
from loradex.db.session import connect

PROMPT = "The soup boils over. Is the flame too high?"
JOBS = 40
MADE_UP = '''
"""A made-up next revision: new columns, every function and view once more, a new function.

Revision ID: 0002_made_up
Revises: 0001_baseline
"""

from alembic import op

from loradex.db.sqlfiles import as_statement, live_files

revision = "0002_made_up"
down_revision = "0001_baseline"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("alter table loradex.jobs add column made_up text")
    op.execute("alter table loradex.workers add column made_up int")
    op.execute("alter table loradex.routings add column made_up int")
    for file in live_files():
        if file.replaceable:
            op.execute(as_statement(file.text))
    op.execute("create function loradex.made_up() returns int language sql as 'select 1'")


def downgrade() -> None:
    op.execute("drop function loradex.made_up()")
    for table in ("jobs", "workers", "routings"):
        op.execute(f"alter table loradex.{table} drop column made_up")
'''


@pytest.fixture
def next_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The revision of a version that does not exist; from now on it is the newest."""
    versions = tmp_path / "versions"
    versions.mkdir()
    (versions / "0002_made_up.py").write_text(MADE_UP)
    config = migrate.alembic_config

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
    return "0002_made_up"


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
    said = len(worker.tail(1_000_000))
    with connect(stack.database_url) as connection, stack.client() as client:
        rename = "alter function loradex.{} rename to {}"
        connection.execute(rename.format("route_jobs", "route_jobs_anew").encode())
        job = client.enqueue(PROMPT, max_new_tokens=2)
        deadline = time.monotonic() + 30
        while "route_jobs" not in worker.tail(1_000_000)[said:] and time.monotonic() < deadline:
            time.sleep(0.05)
        assert "another version" in worker.tail(1_000_000)[said:]
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
    monkeypatch.setattr(migrate.time, "sleep", pause)
    migrate.upgrade(database_url)
    assert pauses == [migrate.PAUSE_SECONDS]
    assert migrate.current_revision(database_url) == next_version
