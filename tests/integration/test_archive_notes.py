"""What verifiers believe of the notes that archives leave in the chain."""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.exported import Exported
from tests.fix_db import RoleUrl
from tests.world import World

from loradex.service import cli
from loradex.service.audit import Audit
from loradex.service.audit.archiving import archive_next

LATER = datetime.now(UTC) + timedelta(days=800)
"""When the month of today is over for long enough."""

NOTE = """
    insert into loradex.archives
    select (r).* from (
        select jsonb_populate_record(null::loradex.archives, jsonb_build_object(
            'id', gen_random_uuid(), 'position', %(position)s::bigint, 'first_position', %(first)s::bigint,
            'last_position', %(last)s::bigint, 'last_hash', %(last_hash)s::bytea, 'answer_count', 1,
            'before', '2026-01-01', 'files', '{}'::jsonb, 'login', 'nobody', 'created_at', '2026-01-01',
            'previous_hash', %(last_hash)s::bytea, 'chain_hash', '\\x00'::bytea)) as r) made"""
"""A note that an owner writes, whose hash fits its columns after `FIT`."""
FIT = """
    update loradex.archives r
    set chain_hash = sha256(r.previous_hash || convert_to(loradex.archive_canonical(r), 'UTF8'))"""


@pytest.mark.parametrize(
    ("position", "first", "said"),
    [
        (2, 1, "it says that links up to 2 were archived, and does not come after them"),
        (0, 1, "it says that links up to 2 were archived, and does not come after them"),
        (5, 1, "its previous_hash is not the chain_hash of the link before it"),
        (9, 1, "link(s) before it are missing"),
        (3, 1, "taken, or lies before the first"),
        (5, 2, "an archive begins with link 2, and 1 was expected"),
        (5, 3, "an archive begins with link 3 and ends with 2"),
    ],
)
def test_a_note_of_an_archive_that_was_never_made_is_found(
    world: World, role_url: RoleUrl, tmp_path: Path, position: int, first: int, said: str
) -> None:
    """An owner deletes the oldest answers, and says that they were archived."""
    world.answered({}, {}, {}, {})
    ((last_hash, head),) = world.rows(
        "select (select chain_hash from loradex.answers where position = 2), encode(chain_hash, 'hex') "
        "from loradex.answers where position = 4"
    )
    world.connection.execute("set session_replication_role = replica")
    world.rows("delete from loradex.answers where position <= 2 returning 1")
    place = {"position": position, "first": first, "last": 2, "last_hash": last_hash}
    world.connection.execute(NOTE, place)
    world.connection.execute(FIT)

    by_hand = [row[0] for row in world.rows("select reason from loradex.verify_audit_chain()")]
    with Audit.at(role_url("loradex_reader")) as audit:
        found = [one.reason for one in audit.breaks([head])]
    code, lines = Exported(role_url("loradex_reader"), tmp_path).verify(head)

    assert any(said in one for one in by_hand), by_hand
    assert any(said in one for one in found), found
    assert (code, len(lines) > 0) == (1, True)


def test_notes_of_archives_follow_one_another(world: World, role_url: RoleUrl, tmp_path: Path) -> None:
    """Of two archives the older's note was taken away, or changed; it lies before the chain that is walked."""
    reader = role_url("loradex_reader")
    for months in (1, 2):
        world.answered({}, {})
        assert archive_next(role_url("loradex_admin"), tmp_path / str(months), LATER) is not None
    (tmp_path / "export").mkdir()

    def found() -> tuple[list[str], list[str], int]:
        with Audit.at(reader) as audit:
            python = [one.reason for one in audit.breaks()]
        own = [row[0] for row in world.rows("select reason from loradex.verify_audit_chain()")]
        return python, own, Exported(reader, tmp_path / "export").verify()[0]

    assert found() == ([], [], 0)
    world.connection.execute("set session_replication_role = replica")
    world.rows("update loradex.archives set login = 'somebody' where position = 3 returning 1")
    python, own, code = found()
    assert (python, own, code) == ([own[0]], ["its chain_hash does not fit its columns: it was changed"], 1)
    world.rows("delete from loradex.archives where position = 3 returning 1")
    python, own, code = found()
    assert (python, own, code) == (
        [own[0]],
        ["it says that an archive begins with link 3, and 1 was expected"],
        1,
    )


def test_a_note_of_an_erasure_that_was_archived_is_still_compared(
    world: World, role_url: RoleUrl, tmp_path: Path
) -> None:
    reader = role_url("loradex_reader")
    (answer, _) = world.answered({}, {})
    world.rows(
        "select loradex.erase_jobs('why', 'who', array[job_id]) from loradex.answers where id = %s", answer
    )
    assert archive_next(role_url("loradex_admin"), tmp_path / "kept", LATER) is not None
    world.connection.execute("set session_replication_role = replica")
    world.rows("update loradex.erasures set reason = 'another' returning 1")
    (tmp_path / "export").mkdir()
    with Audit.at(reader) as audit:
        (found,) = audit.breaks()
    ((own,),) = world.rows("select reason from loradex.verify_audit_chain()")
    assert found.reason == own == "its chain_hash does not fit its columns: it was changed"
    code, (line,) = Exported(reader, tmp_path / "export").verify()
    assert (code, "does not fit" in line) == (1, True)


def test_no_head_is_found_in_a_note_that_no_link_follows(
    world: World, role_url: RoleUrl, tmp_path: Path
) -> None:
    """Of two archives the older's note may be written anew by an owner; only the newest's end is the beginning."""
    for months in (1, 2):
        world.answered({}, {})
        assert archive_next(role_url("loradex_admin"), tmp_path / str(months), LATER) is not None
    world.connection.execute("set session_replication_role = replica")
    world.connection.execute("update loradex.archives set last_hash = sha256('kept') where position = 3")
    world.connection.execute(FIT)
    (tmp_path / "export").mkdir()
    head = hashlib.sha256(b"kept").hexdigest()
    with Audit.at(role_url("loradex_reader")) as audit:
        assert any(head in one.reason for one in audit.breaks([head]))
    code, lines = Exported(role_url("loradex_reader"), tmp_path / "export").verify(head)
    assert (code, lines) == (1, [f"no link has the hash {head}"])


def test_the_link_before_an_archive_is_compared(world: World, role_url: RoleUrl, tmp_path: Path) -> None:
    """Also where the check begins with the first answer after it."""
    world.answered({})
    assert archive_next(role_url("loradex_admin"), tmp_path, LATER) is not None
    first, second = world.answered({}, {})
    verify = "select reason from loradex.verify_audit_chain(%s, %s)"
    assert world.rows(verify, first, second) == []
    world.connection.execute("set session_replication_role = replica")
    # Without the note that lies between, the first answer is the beginning.
    world.rows("update loradex.archives set last_position = 2, position = 9 returning 1")
    assert world.rows(verify, first, second) == [
        ("its previous_hash is not the chain_hash of the link before it",),
    ]


def test_heads_of_before_an_archive(
    world: World,
    role_url: RoleUrl,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """They are counted, and looked for where the archive is given; newer ones must be in the database."""
    heads = tmp_path / "heads"
    monkeypatch.setenv("LORADEX_ANCHOR", f"file://{heads}")
    monkeypatch.setenv("LORADEX_DATABASE_URL", role_url("loradex_reader"))
    for _ in range(3):
        world.answered({})
        assert cli.run(["audit", "head", "--anchor"]) == 0
    archive = archive_next(role_url("loradex_admin"), tmp_path / "archives", LATER)
    assert archive is not None
    world.answered({})
    assert cli.run(["audit", "head", "--anchor"]) == 0
    capsys.readouterr()

    # The head that the archive ends with stands in its note.
    assert cli.run(["audit", "verify"]) == 0
    assert "4 heads, 2 of them in archives, not looked for (--archive)" in capsys.readouterr().out
    assert cli.run(["audit", "verify", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["heads_in_archives"] == 2
    with_it = ["audit", "verify", "--archive", str(archive.directory)]
    assert cli.run(with_it) == 0
    assert "not looked for" not in capsys.readouterr().out

    def kept(position: int, digit: str) -> None:
        head = {"position": position, "chain_hash": digit * 64, "at": "2026-11-30T00:00:00+00:00"}
        with heads.open("a") as file:
            file.write(json.dumps(head) + "\n")

    # One that is not in the archive is found out with the archive; one that its end belies at once.
    whole = heads.read_text()
    kept(2, "a")
    assert cli.run(["audit", "verify"]) == 0
    assert cli.run(with_it) == 1
    assert f"no link has the hash {'a' * 64}" in "".join(capsys.readouterr().out.split("\n"))
    # It lies in the archive by one account, and in the database by another.
    kept(5, "a")
    assert cli.run(["audit", "verify"]) == 1
    for position in (3, 4, 6):
        heads.write_text(whole)
        kept(position, "b")
        assert cli.run(["audit", "verify"]) == 1, position
