"""`loradex archive`: months that are over become Parquet files, and the chain goes from there into the database."""

import hashlib
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
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
from loradex.service.audit import Audit, archive, archiving, batch, evidence
from loradex.service.audit.archive import MANIFEST, Archive, Part, findings
from loradex.service.audit.archiving import archive_next
from loradex.service.audit.batch import as_bytes
from loradex.service.audit.canonical import commitment, objects, written
from loradex.service.audit.draft import PREFIX, alone
from loradex.service.audit.evidence import ANSWERS, ERASABLE
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


Rows = list[dict[str, Any]]


class Forger:
    """Changes copies of an archive: their rows, and what their manifests say of the files."""

    def __init__(self, kept: Archive, reader: str) -> None:
        self.kept = kept
        self.reader = reader
        self.copy = kept.directory.parent / "forged"

    def forge(self, change: Callable[[Rows], Rows], **told: int) -> None:
        """Rows of answers, changed; the manifest's sums fit the new files."""
        self.begin()
        file = self.copy / "answers.parquet"
        rows = pq.read_table(file)
        pq.write_table(pa.Table.from_pylist(change(rows.to_pylist()), schema=rows.schema), file)
        manifest = json.loads((self.copy / MANIFEST).read_text()) | told
        manifest["files"]["answers.parquet"] = hashlib.sha256(file.read_bytes()).hexdigest()
        (self.copy / MANIFEST).write_text(json.dumps(manifest))

    def begin(self) -> None:
        shutil.rmtree(self.copy, ignore_errors=True)
        shutil.copytree(self.kept.directory, self.copy)

    def offline(self) -> list[str]:
        return [one.reason for one in findings([Archive.at(self.copy)])]

    def online(self) -> list[str]:
        with Audit.at(self.reader) as audit:
            return [one.reason for one in audit.breaks(archives=[Archive.at(self.copy)])]


@pytest.fixture
def forger(world: World, role_url: RoleUrl, tmp_path: Path) -> Forger:
    """Of an archive of four answers, the first of which was erased."""
    world.answered({}, {}, {}, {})
    world.rows(
        "select loradex.erase_jobs('why', 'who', array[job_id]) from loradex.answers where position = 1"
    )
    archive = archive_next(role_url("loradex_admin"), tmp_path / "kept", LATER)
    assert archive is not None
    return Forger(archive, role_url("loradex_reader"))


def only(reasons: list[str], *parts: str) -> None:
    assert len(reasons) == len(parts), reasons
    for reason, part in zip(reasons, parts, strict=True):
        assert part in reason


UNLIKE = "its files are not those that its note in the chain names"


def test_a_forged_archive_is_found(forger: Forger) -> None:
    forger.begin()
    assert (forger.offline(), forger.online()) == ([], [])
    # Whoever has both, rows and manifest, is found by the note alone, which is in the database.
    forger.forge(lambda rows: rows)
    only(forger.offline())
    only(forger.online(), UNLIKE)
    forger.forge(lambda rows: [rows[0], {**rows[1], "text": "forged"}, *rows[2:]])
    only(forger.offline(), "does not fit")
    only(forger.online(), "does not fit", UNLIKE)
    forger.forge(lambda rows: rows[:1] + rows[2:])
    assert any("missing" in one for one in forger.offline())
    forger.forge(lambda rows: rows[:3])
    only(forger.offline(), "does not end as it says", "it holds 3 answers, 1 of them erased")
    assert any("does not end as it says" in one for one in forger.online())


def gone(row: dict[str, Any]) -> dict[str, Any]:
    """As if it had been erased, its hash as it was."""
    salt = as_bytes(row["salt"])
    kinds = dict.fromkeys(ERASABLE, "text") | evidence.LINKS[ANSWERS]
    made = {name: commitment(name, *written(kinds[name], [row[name]]), salt) for name in ERASABLE}
    (commitments,) = objects({name: [one] for name, one in made.items()})
    return row | dict.fromkeys((*ERASABLE, "salt")) | {"commitments": commitments}


def test_texts_that_are_taken_out_of_an_archive_or_put_into_it_are_found(forger: Forger) -> None:
    forger.forge(lambda rows: [*rows[:2], gone(rows[2]), rows[3]])
    only(forger.offline(), "it holds 4 answers, 2 of them erased, and its archive.json says 4 and 1")
    only(forger.online(), "says 4 and 1", UNLIKE, "no note in the chain says so")
    # A manifest that says so as well says nothing of the note.
    forger.forge(lambda rows: [*rows[:2], gone(rows[2]), rows[3]], erased=2)
    only(forger.offline())
    only(forger.online(), UNLIKE, "no note in the chain says so")
    forger.forge(lambda rows: [{**rows[0], "text": "what they never said"}, *rows[1:]])
    only(forger.offline(), "holds some: no hash covers them")
    only(forger.online(), "holds some: no hash covers them", UNLIKE)


def test_files_that_are_not_those_of_the_manifest_are_found_offline(forger: Forger) -> None:
    forger.begin()
    rows = pq.read_table(forger.copy / "erasures.parquet")
    pq.write_table(rows, forger.copy / "erasures.parquet", compression="none")
    only(forger.offline(), "its files are not those that its archive.json names")


def test_the_note_of_an_archive_that_lies_in_the_next_is_compared_offline(
    world: World, role_url: RoleUrl, tmp_path: Path
) -> None:
    archives = []
    for year in (1, 2):
        world.answered({}, {})
        archives.append(archive_next(role_url("loradex_admin"), tmp_path, LATER + timedelta(days=365 * year)))
    first, second = (Archive.at(one.directory) for one in archives if one is not None)
    assert list(findings([first, second])) == []
    told = json.loads((first.directory / MANIFEST).read_text())
    # Packed otherwise, which no link tells; the manifest was changed too.
    file = first.directory / "answers.parquet"
    pq.write_table(pq.read_table(file), file, compression="none")
    told["files"]["answers.parquet"] = hashlib.sha256(file.read_bytes()).hexdigest()
    (first.directory / MANIFEST).write_text(json.dumps(told))
    first = Archive.at(first.directory)
    assert list(findings([first])) == []
    only([one.reason for one in findings([first, second])], UNLIKE)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("position", "1x"),
        ("position", "9" * 5000),
        ("chain_hash", "\\xzz"),
        ("previous_hash", "not hex"),
        ("id", "nobody"),
        ("temperature", "1e1e1"),
        ("commitments", "["),
        ("commitments", "[" * 100_000),
        ("salt", "\\x0"),
    ],
)
def test_a_value_that_is_none_of_its_column_is_a_finding_about_the_archive(
    forger: Forger, column: str, value: str | None
) -> None:
    forger.forge(lambda rows: [{**rows[0], column: value}, *rows[1:]])
    for reasons in (forger.offline(), forger.online()):
        assert any(one.startswith(f"{forger.copy}: it cannot be read: ") for one in reasons)


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("answers.parquet", lambda file: file.write_bytes(file.read_bytes()[:-40])),
        ("answers.parquet", lambda file: file.unlink()),
        ("erasures.parquet", lambda file: file.write_text("nothing")),
        (
            "answers.parquet",
            lambda file: pq.write_table(pq.read_table(file).drop_columns(["salt"]), file),
        ),
        (
            "answers.parquet",
            lambda file: pq.write_table(pq.read_table(file).replace_schema_metadata(), file),
        ),
    ],
)
def test_a_file_that_cannot_be_read_is_a_finding_about_the_archive(
    forger: Forger, file: str, damage: Callable[[Path], Any]
) -> None:
    forger.begin()
    damage(forger.copy / file)
    for reasons in (forger.offline(), forger.online()):
        assert any(one.startswith(f"{forger.copy}: it cannot be read: ") for one in reasons)


def test_a_batch_ends_where_its_links_are_long(
    world: World, role_url: RoleUrl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three hundred answers may be some kilobytes or a gigabyte."""
    monkeypatch.setattr(batch, "FETCHED", 2)
    monkeypatch.setattr(batch, "BYTES_AT_ONCE", 1)
    world.answered({}, {}, {}, {}, {})
    with snapshot(role_url("loradex_reader")) as connection:
        read = batch.batches(connection, evidence.table(connection, ANSWERS))
        assert [len(one.texts) for one in read] == [2, 2, 1]
    archive = archive_next(role_url("loradex_admin"), tmp_path, LATER)
    assert archive is not None
    assert pq.ParquetFile(archive.directory / "answers.parquet").num_row_groups == 3
    assert list(findings([archive])) == []


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
