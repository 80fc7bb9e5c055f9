"""`loradex archive`: months that are over become Parquet files, and the chain goes from there into the database."""

import json
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.exported import Exported
from tests.fix_db import RoleUrl
from tests.until import until
from tests.world import World

from loradex.db.session import connect
from loradex.errors import ArchiveError, QueueFullError
from loradex.service import cli
from loradex.service.audit import Audit, archive, archiving
from loradex.service.audit.archive import MANIFEST, Archive, Part, findings
from loradex.service.audit.archiving import archive_next
from loradex.service.audit.draft import PREFIX, alone
from loradex.service.audit.snapshot import snapshot

LATER = datetime.now(UTC) + timedelta(days=800)
"""When the month of today is over for long enough."""
DROP = (
    "select loradex.drop_archived(a.before, a.last_hash, 0, '{}', now() + interval '9 years') "
    "from loradex.archivable(now() + interval '9 years') a"
)
AWAITED = "select exists (select from pg_locks where relation = 'loradex.answers'::regclass and not granted)"


def test_archive(
    world: World,
    role_url: RoleUrl,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    admin, reader = role_url("loradex_admin"), role_url("loradex_reader")
    answers = world.answered({"prompt": "erased"}, {"choices": ["yes", "no"]}, {"idempotency_key": "1"})
    world.rows(
        "select loradex.erase_jobs('why', 'who', array[job_id]) from loradex.answers where position = 1"
    )
    before = [
        row[0]
        for row in world.rows("select encode(chain_hash, 'hex') from loradex.answers order by position")
    ]

    # Nothing is over yet.
    monkeypatch.setenv("LORADEX_DATABASE_URL", admin)
    assert cli.run(["archive", str(tmp_path)]) == 0
    assert "nothing to archive" in capsys.readouterr().out

    archive = archive_next(admin, tmp_path, LATER)
    assert archive is not None
    assert (archive.first_position, archive.answers) == (1, 3)
    assert archive_next(admin, tmp_path, LATER) is None
    assert world.rows("select count(*) from loradex.answers") == [(0,)]
    assert world.rows("select count(*) from loradex.jobs") == [(0,)]
    with Audit.at(reader) as audit:
        head = audit.head()
    assert head is not None
    assert (head.position, head.answer_id) == (5, None)
    rows = pq.read_table(archive.directory / "answers.parquet").to_pylist()
    assert [row["id"] for row in rows] == [str(answer) for answer in answers]
    assert [row["prompt"] is None for row in rows] == [True, False, False]

    # The chain goes on, in a partition that is made anew.
    world.answered({}, {})
    assert world.rows("select position from loradex.answers order by 1") == [(6,), (7,)]
    assert world.rows("select * from loradex.verify_audit_chain()") == []
    monkeypatch.setenv("LORADEX_DATABASE_URL", reader)
    assert cli.run(["audit", "verify"]) == 0
    verify = ["audit", "verify", "--archive", str(archive.directory)]
    assert cli.run([*verify, "--head", before[0], "--head", before[2]]) == 0
    assert "intact: 5 answers" in capsys.readouterr().out
    # Without the archive the head of then cannot be found.
    assert cli.run(["audit", "verify", "--head", before[0]]) == 1
    assert "--archive" in capsys.readouterr().out
    assert cli.run(["audit", "verify", "--archive", str(tmp_path)]) == 2

    # The hash that the archive ends with stands in its note.
    (tmp_path / "export").mkdir()
    exported = Exported(reader, tmp_path / "export")
    assert exported.verify(before[2]) == (0, ["intact"])
    assert exported.verify(before[0]) == (1, [f"no link has the hash {before[0]}"])
    assert cli.run(["audit", "verify", "--head", before[2]]) == 0

    # No database is asked.
    monkeypatch.setenv("LORADEX_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")
    capsys.readouterr()
    assert cli.run([*verify, "--offline", "--head", before[0]]) == 0
    assert "intact: 3 answers in 1 archives; 1 heads" in capsys.readouterr().out
    assert cli.run([*verify, "--offline", "--head", "0" * 64]) == 1
    assert cli.run(["audit", "verify", "--offline"]) == 2


def test_a_forged_archive_is_found(world: World, role_url: RoleUrl, tmp_path: Path) -> None:
    world.answered({}, {}, {})
    archive = archive_next(role_url("loradex_admin"), tmp_path / "kept", LATER)
    assert archive is not None

    def forge(change: Any) -> list[str]:
        copy = tmp_path / "forged"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(archive.directory, copy)
        file = copy / "answers.parquet"
        kept = pq.read_table(file)
        pq.write_table(pa.Table.from_pylist(change(kept.to_pylist()), schema=kept.schema), file)
        with Audit.at(role_url("loradex_reader")) as audit:
            return [one.reason for one in audit.breaks(archives=[Archive.at(copy)])]

    def offline() -> list[str]:
        return [one.reason for one in findings([Archive.at(tmp_path / "forged")])]

    assert forge(lambda rows: rows) == []
    assert offline() == []
    assert any(
        "does not fit" in one for one in forge(lambda rows: [{**rows[0], "text": "forged"}, *rows[1:]])
    )
    assert any("missing" in one for one in forge(lambda rows: rows[:1] + rows[2:]))
    assert any("do not end" in one for one in forge(lambda rows: rows[:2]))
    assert any("does not end" in one for one in offline())


def test_a_broken_chain_is_not_archived(world: World, role_url: RoleUrl, tmp_path: Path) -> None:
    world.answered({}, {})
    world.connection.execute("set session_replication_role = replica")
    world.rows("update loradex.answers set text = 'forged' where position = 1 returning 1")
    with pytest.raises(ArchiveError, match="does not fit"):
        archive_next(role_url("loradex_admin"), tmp_path, LATER)
    assert list(tmp_path.iterdir()) == []
    assert world.rows("select count(*) from loradex.answers") == [(2,)]


def test_months_that_are_mixed_are_archived_together(world: World, role_url: RoleUrl, tmp_path: Path) -> None:
    """As where the clock was set back over the turn of a month."""
    for month in (7, 8):
        world.rows("select loradex.make_partition(%s)", f"2026-0{month}-03")
    world.answered({}, {}, {})
    world.connection.execute("set session_replication_role = replica")
    # The ids of these months; the chain does not fit them any more, which is not looked at here.
    for position, moment in ((1, "2026-07-31"), (2, "2026-08-01"), (3, "2026-07-31")):
        world.rows(
            "update loradex.answers set id = overlay(overlay(loradex.first_id(%s)::text placing '7' from 15) "
            "placing '8' from 20)::uuid where position = %s returning 1",
            f"{moment} 12:00:00.{position:03d}+00",
            position,
        )
    ((before, first, last, answers),) = world.rows(
        "select before::date::text, first_position, last_position, answers from loradex.archivable('2028-10-01')"
    )
    assert (before, first, last, answers) == ("2026-09-01", 1, 3, 3)


def test_what_is_dropped_is_what_was_archived(world: World) -> None:
    world.answered({})
    for call in (
        "loradex.drop_archived('2020-01-01', '\\x00', 0, '{}', now() + interval '500 days')",
        "loradex.drop_archived('2020-01-01', '\\x00', 0, '{}')",
        "loradex.drop_archived('2020-01-01', '\\x00', 0, '3')",
        # Of the right part, but for the answers that are erased.
        (
            "loradex.drop_archived(a.before, a.last_hash, 1, '{}', now() + interval '9 years') "
            "from loradex.archivable(now() + interval '9 years') a"
        ),
    ):
        with pytest.raises(psycopg.Error) as error:
            world.rows(f"select {call}")
        assert error.value.sqlstate == "LX001"


class Erasing:
    """Lets a second session erase the next answer whenever an archive was written, for as long as there are some."""

    def __init__(self, url: str, shell: pytest.MonkeyPatch) -> None:
        self.url = url
        self.times = 0
        shell.setattr(archiving, "write", self.write)

    def write(self, *said: Any) -> None:
        archive.write(*said)
        with connect(self.url) as other:
            erased = other.execute(
                "select e.answers from (select job_id from loradex.answers where commitments is null order by position "
                "limit 1) a, loradex.erase_jobs('why', 'who', array[a.job_id]) e"
            ).fetchone()
        self.times += erased == (1,)


def test_texts_that_are_erased_while_an_archive_is_written_are_not_in_it(
    world: World, role_url: RoleUrl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = role_url("loradex_admin")
    world.answered({"prompt": "The secret is 4711"}, {"prompt": "The secret is 4711"})
    erasing = Erasing(admin, monkeypatch)
    done = archive_next(admin, tmp_path, LATER)

    assert done is not None
    assert (erasing.times, done.erased) == (2, 2)
    rows = pq.read_table(done.directory / "answers.parquet").to_pylist()
    assert [row["prompt"] for row in rows] == [None, None]
    assert list(tmp_path.iterdir()) == [done.directory]
    assert world.rows("select answer_count from loradex.archives") == [(2,)]
    with Audit.at(role_url("loradex_reader")) as audit:
        assert list(audit.breaks(archives=[done])) == []


def test_an_archive_is_not_written_for_ever(
    world: World, role_url: RoleUrl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = role_url("loradex_admin")
    world.answered({}, {}, {}, {})
    Erasing(admin, monkeypatch)
    with pytest.raises(ArchiveError, match="erased each time"):
        archive_next(admin, tmp_path, LATER)
    assert list(tmp_path.iterdir()) == []
    assert world.rows("select count(*), count(commitments) from loradex.answers") == [(4, archiving.TRIES)]


def test_what_an_archive_s_name_has(world: World, role_url: RoleUrl, tmp_path: Path) -> None:
    """An equal archive is taken up, an older or damaged one written anew, and what is somebody else's stays."""
    admin = role_url("loradex_admin")
    world.answered({}, {})
    # Somebody reads answers, so that nothing is dropped.
    with connect(admin) as other, other.transaction():
        other.execute("select from loradex.answers")
        with pytest.raises(QueueFullError):
            archive_next(admin, tmp_path, LATER)
    (place,) = tmp_path.iterdir()
    assert place.stat().st_mode & 0o777 == 0o700
    written = place.stat().st_ino
    ((part,),) = world.rows("select row(a.*)::text from loradex.archivable(%s) a", LATER)

    def kept() -> Archive:
        """As `archive_next` finds or makes it."""
        with snapshot(admin) as connection:
            found = Part.next(connection, LATER)
            assert found is not None
            return archiving._archive(connection, found, place)

    assert (kept().directory, place.stat().st_ino) == (place, written)
    (place / "answers.parquet").write_bytes(b"damaged")
    assert kept().files_same()
    assert place.stat().st_ino != written
    world.rows(
        "select loradex.erase_jobs('why', 'who', array[job_id]) from loradex.answers where position = 1"
    )
    assert (kept().erased, kept().answers) == (1, 2)

    told = json.loads((place / MANIFEST).read_text())
    for foreign, said in (
        (json.dumps({**told, "last_hash": "00" * 32}), "another chain"),
        ("{}", "not an archive"),
        (json.dumps({name: value for name, value in told.items() if name != "files"}), "not an archive"),
        (json.dumps({**told, "files": 3}), "not an archive"),
    ):
        (place / MANIFEST).write_text(foreign)
        with pytest.raises(ArchiveError, match=said):
            archive_next(admin, tmp_path, LATER)
        assert (place / MANIFEST).read_text() == foreign
    assert list(tmp_path.iterdir()) == [place]
    assert world.rows("select row(a.*)::text from loradex.archivable(%s) a", LATER) != [(part,)]
    assert world.rows("select count(*) from loradex.answers") == [(2,)]


def test_who_verifies_while_an_archive_is_dropped_sees_all_of_it_or_nothing(
    world: World, role_url: RoleUrl, database_url: str
) -> None:
    world.answered({}, {})

    def verified() -> list[Any]:
        with Audit.at(role_url("loradex_reader")) as audit:
            return list(audit.breaks())

    with connect(database_url) as dropping, ThreadPoolExecutor(1) as aside:
        with dropping.transaction():
            dropping.execute(DROP)
            found = aside.submit(verified)
            until(lambda: world.value(AWAITED))
        assert found.result() == []


def test_a_deadlock_with_an_erasure_is_an_advice_to_try_again(world: World, database_url: str) -> None:
    """An erasure locks answers and then the chain, as the other session does here."""
    world.answered({})
    with connect(database_url) as erasing, connect(database_url) as dropping, ThreadPoolExecutor() as threads:
        # Whoever drops finds the deadlock out, before its lock_timeout.
        erasing.execute("set deadlock_timeout = '10min'")
        dropping.execute("set deadlock_timeout = '4s'")
        with erasing.transaction():
            erasing.execute("lock table loradex.answers in row exclusive mode")
            dropped = threads.submit(dropping.execute, DROP)
            until(lambda: world.value(AWAITED))
            erasing.execute("lock table loradex.chain_lock in exclusive mode")
            with pytest.raises(psycopg.Error, match="try again later") as refused:
                dropped.result()
        assert refused.value.sqlstate == "LX008"
    assert world.rows("select count(*) from loradex.answers") == [(1,)]


KILLED = """
import os, signal, sys
from datetime import datetime
from pathlib import Path
from loradex.service.audit import archive
from loradex.service.audit.archiving import archive_next

archive.to_disk = lambda place: os.kill(os.getpid(), signal.SIGKILL)
archive_next(sys.argv[1], Path(sys.argv[2]), datetime.fromisoformat(sys.argv[3]))
"""


def test_a_job_that_is_held_is_an_advice_to_try_again(world: World, database_url: str) -> None:
    world.answered({})
    with connect(database_url) as holder, holder.transaction():
        holder.execute("select from loradex.jobs for update")
        with pytest.raises(psycopg.Error, match="try again later") as refused:
            world.connection.execute(DROP)
    assert refused.value.sqlstate == "LX008"
    assert world.rows("select count(*) from loradex.answers") == [(1,)]


def test_a_kill_leaves_no_half_archive(world: World, role_url: RoleUrl, tmp_path: Path) -> None:
    admin = role_url("loradex_admin")
    world.answered({})
    done = subprocess.run(
        [sys.executable, "-c", KILLED, admin, tmp_path, LATER.isoformat()], check=False, capture_output=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(PREFIX)
    assert left.stat().st_mode & 0o777 == 0o700
    assert world.rows("select count(*) from loradex.answers") == [(1,)]

    # While another program is at work its draft is let be.
    with alone(tmp_path):
        (tmp_path / f"{PREFIX}theirs").mkdir()
        with pytest.raises(ArchiveError, match="another `loradex archive`"):
            archive_next(admin, tmp_path, LATER)
        assert (tmp_path / f"{PREFIX}theirs").is_dir()
    archive = archive_next(admin, tmp_path, LATER)
    assert archive is not None
    assert list(tmp_path.iterdir()) == [archive.directory]


def test_a_place_that_cannot_be_written_to_is_said(world: World, role_url: RoleUrl, tmp_path: Path) -> None:
    world.answered({})
    (tmp_path / "file").write_text("")
    with pytest.raises(ArchiveError, match="cannot be written to"):
        archive_next(role_url("loradex_admin"), tmp_path / "file", LATER)
