"""`loradex audit verify` finds every forgery, whatever the forged database says about itself."""

import json
import re
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from tests.fix_db import RoleUrl
from tests.world import World

from loradex.db.sqlfiles import live_files
from loradex.errors import InvalidArgumentError, PermissionRefusedError, SchemaOutdatedError
from loradex.service import cli
from loradex.service.audit import Audit, Finding
from loradex.service.audit.release import Release
from loradex.service.audit.snapshot import PINNED

CHANGED = "does not fit its columns"

# For each type, something else than what is there.
OTHER = {
    "text": "{c} || '!'",
    "character": "overlay({c} placing case when left({c}, 1) = '0' then '1' else '0' end from 1)",
    "uuid": "uuidv7()",
    "integer": "{c} + 1000",
    "bigint": "{c} + 100",
    "double precision": "{c} + 0.001",
    "boolean": "not {c}",
    "jsonb": "{c} || '{{\"forged\": null}}'",
    "bytea": "set_byte({c}, 0, get_byte({c}, 0) # 1)",
    "timestamp with time zone": "{c} + interval '1 microsecond'",
    "text[]": "{c} || 'forged'::text",
    "integer[]": "{c} || 1",
    "bigint[]": "{c} || 1::bigint",
    "boolean[]": "{c} || true",
    "bytea[]": "{c} || '\\x00'::bytea",
    "double precision[]": "{c} || 0.5",
    "vector": "({c} + array_fill(0.001::real, array[vector_dims({c})])::vector)",
}
IN_PLACE_OF_NULL = {"text": "'forged'", "double precision": "0.5", "double precision[]": "array[0.5]"} | {
    "text[]": "array['forged']",
    "jsonb": "'[]'",
}

Verify = Callable[..., list[Finding]]


@pytest.fixture
def chain(world: World) -> World:
    """Three answers, and a superuser whose triggers and foreign keys are off."""
    world.answered({"top_p": 1.0}, {"top_p": 1.0, "choices": ["yes", "no"]}, {"top_p": 1.0})
    world.connection.execute("set session_replication_role = replica")
    return world


@pytest.fixture
def verify(role_url: RoleUrl) -> Verify:
    """All that is wrong, for a login with the rights of a reader."""
    url = role_url("loradex_reader")

    def verify(*heads: str) -> list[Finding]:
        with Audit.at(url) as audit:
            return list(audit.breaks(heads))

    return verify


def second(world: World) -> UUID:
    answer: UUID = world.value("select id from loradex.answers where position = 2")
    return answer


def test_an_intact_chain_is_intact_to_a_reader(chain: World, role_url: RoleUrl) -> None:
    kept = chain.rows("select encode(chain_hash, 'hex') from loradex.answers")
    steps: list[int] = []
    with Audit.at(role_url("loradex_reader", member=True)) as audit:
        assert list(audit.breaks([one for (one,) in kept], steps.append)) == []
        head = audit.head()
        assert audit.length() == sum(steps) == audit.checked.answers == 3
    assert head is not None
    assert (head.position, head.chain_hash) == (3, kept[2][0])
    assert (audit.checked.functions > 50, audit.checked.triggers) == (True, 8)


def test_an_owner_who_replaces_the_verifier_is_found(chain: World, verify: Verify) -> None:
    """The database says what it likes about itself; nobody asks it."""
    chain.rows("update loradex.answers set text = 'forged' where position = 2 returning 1")
    for replaced in (
        (
            "function loradex.answer_hash(answer loradex.answers) returns bytea "
            "language sql stable as 'select answer.chain_hash'"
        ),
        (
            "function loradex.verify_audit_chain(from_answer uuid default null, to_answer uuid default null) "
            'returns table ("position" bigint, answer_id uuid, reason text) language sql stable as '
            "'select null::bigint, null::uuid, null::text where false'"
        ),
    ):
        chain.connection.execute(f"create or replace {replaced}".encode())
    assert chain.rows("select * from loradex.verify_audit_chain()") == []

    found = verify(chain.value("select encode(chain_hash, 'hex') from loradex.answers where position = 3"))

    assert [(one.position, one.answer_id) for one in found if CHANGED in one.reason] == [(2, second(chain))]
    for name in ("answer_hash(loradex.answers)", "verify_audit_chain(uuid,uuid)"):
        assert f"function loradex.{name} is not the one of this release" in "\n".join(
            one.reason for one in found
        )


def test_a_changed_value_in_any_column_is_found(chain: World) -> None:
    columns = chain.rows(
        "select attname, format_type(atttypid, null) from pg_attribute "
        "where attrelid = 'loradex.answers'::regclass and attnum > 0 and not attisdropped "
        # Null until an answer is erased: see test_erasing.
        "and attname <> 'commitments' order by 1"
    )
    assert len(columns) > 50
    missed = []
    for column, kind in columns:
        changed = f"coalesce({OTHER[kind].format(c=column)}, {IN_PLACE_OF_NULL.get(kind, 'null')})"
        with chain.connection.transaction(force_rollback=True):
            assert chain.rows(
                f"update loradex.answers set {column} = {changed} where position = 2 returning 1"
            )
            for setting in PINNED:
                chain.connection.execute(setting)
            if not list(Audit(chain.connection).breaks()):
                missed.append(column)
    assert missed == []


@pytest.mark.parametrize("column", ["choice", "scores"])
def test_a_value_made_null_is_found(chain: World, verify: Verify, column: str) -> None:
    chain.rows(f"update loradex.answers set {column} = null where position = 2 returning 1")
    assert [one.position for one in verify()] == [2]


def test_an_array_that_begins_elsewhere_is_found(chain: World, verify: Verify) -> None:
    """To `to_jsonb` it is the same array, to whoever asks for its first element it is not."""
    chain.rows("update loradex.answers set token_ids = '[0:2]={17,4,2}' where position = 2 returning 1")
    assert chain.rows("select * from loradex.verify_audit_chain()") == []
    assert [one.position for one in verify()] == [2]


def test_an_answer_deleted_in_the_middle_is_found(chain: World, verify: Verify) -> None:
    chain.rows("delete from loradex.answers where position = 2 returning 1")
    (found,) = verify()
    assert (found.position, "missing" in found.reason) == (3, True)


def test_a_cut_tail_is_found_by_a_head_kept_elsewhere(chain: World, verify: Verify) -> None:
    heads = [
        row[0]
        for row in chain.rows("select encode(chain_hash, 'hex') from loradex.answers order by position")
    ]
    chain.rows("delete from loradex.answers where position = 3 returning 1")
    assert verify() == []
    (found,) = verify(*heads)
    assert heads[2] in found.reason
    assert "cut or rewritten" in found.reason


def test_a_head_is_what_an_answer_hashes_to_not_what_a_row_says(chain: World, verify: Verify) -> None:
    head = chain.value("select encode(chain_hash, 'hex') from loradex.answers where position = 3")
    chain.rows("update loradex.answers set text = 'forged' where position = 3 returning 1")
    assert [one.position for one in verify(head)] == [3, None]


def test_answers_that_change_places_are_found(chain: World, verify: Verify) -> None:
    for old, new in ((2, -1), (3, 2), (-1, 3)):
        chain.rows(f"update loradex.answers set position = {new} where position = {old} returning 1")
    assert {one.position for one in verify()} == {2, 3}


def test_a_place_that_is_taken_twice_or_missing_is_found(chain: World, verify: Verify) -> None:
    chain.connection.execute("alter table loradex.answers alter position drop not null")
    chain.rows("update loradex.answers set position = 2 where position = 3 returning 1")
    assert "taken" in " ".join(one.reason for one in verify())
    chain.rows("update loradex.answers set position = null where position = 1 returning 1")
    assert "no position" in " ".join(one.reason for one in verify())


def test_an_answer_without_an_id_is_found(chain: World, verify: Verify) -> None:
    chain.connection.execute("alter table loradex.answers drop constraint answers_pkey cascade")
    chain.connection.execute("alter table loradex.answers alter id drop not null")
    chain.connection.execute("create table loradex.rest partition of loradex.answers default")
    chain.rows("update loradex.answers set id = null where position = 2 returning 1")
    assert (2, None) in {(one.position, one.answer_id) for one in verify()}


def test_a_doctored_copy_with_a_hash_of_its_own_is_found(chain: World, verify: Verify) -> None:
    """Whoever computes the hash of one answer anew breaks the link to the next."""
    chain.rows("update loradex.answers set text = 'forged' where position = 2 returning 1")
    chain.rows(
        "update loradex.answers a set chain_hash = loradex.answer_hash(a) where position = 2 returning 1"
    )
    assert [(one.position, "previous_hash" in one.reason) for one in verify()] == [(3, True)]


READER = "grant select on loradex.{0} to loradex_reader"
HIDE = "alter table loradex.{0} rename to other"
PART = "answers_{month}"
DISGUISES = {
    "a view": (
        [HIDE, "create view loradex.{0} as select * from loradex.other", READER],
        "loradex.{0} is not an ordinary table",
    ),
    "a materialised view": (
        [HIDE, "create materialized view loradex.{0} as select * from loradex.other", READER],
        "loradex.{0} is not an ordinary table",
    ),
    "a table with a rule": (
        ["create rule quiet as on insert to loradex.{0} do instead nothing"],
        "loradex.{0} has rules",
    ),
    "somebody else's table": (
        ["alter table loradex.{0} owner to loradex_admin", READER],
        "loradex.{0} does not belong to the owner of the schema loradex",
    ),
    "a computed column": (
        ["alter table loradex.{0} add more text generated always as ('x') virtual"],
        "loradex.{0}.more is computed, not stored",
    ),
    "an unlogged part": (
        [f"alter table loradex.{PART} set unlogged"],
        f"loradex.{PART} is not an ordinary table",
    ),
    "a part with a rule": (
        [f"create rule quiet as on insert to loradex.{PART} do instead nothing"],
        f"loradex.{PART} has rules",
    ),
    "somebody else's part": (
        [f"alter table loradex.{PART} owner to loradex_admin"],
        f"loradex.{PART} does not belong to the owner of the schema loradex",
    ),
    "a part that refuses nothing": (
        ["create table loradex.rest partition of loradex.{0} default"],
        "trigger append_only on loradex.rest is missing, or not the one of this release",
    ),
}


@pytest.mark.parametrize("disguise", DISGUISES)
def test_a_table_that_is_not_what_it_seems_is_found(chain: World, verify: Verify, disguise: str) -> None:
    statements, reason = DISGUISES[disguise]
    month = chain.month
    for statement in statements:
        chain.connection.execute(statement.format("answers", month=month).encode())
    assert reason.format("answers", month=month) in {one.reason for one in verify()}


@pytest.mark.parametrize(
    "statement",
    [
        "drop policy all_rows on loradex.answers",
        "create policy fewer on loradex.answers as restrictive for select using (position < 2)",
        "alter policy all_rows on loradex.answers using (position < 3)",
        "alter policy all_rows on loradex.answers to loradex_worker",
    ],
)
def test_rows_that_are_hidden_from_the_verifier_are_noticed(
    chain: World, verify: Verify, statement: str
) -> None:
    chain.connection.execute(statement.encode())
    with pytest.raises(PermissionRefusedError, match="hides rows"):
        verify()


@pytest.mark.parametrize("table", ["adapters", "evaluations", "answers", PART])
@pytest.mark.parametrize(
    "statement",
    [
        "alter table loradex.{} disable trigger append_only",
        "alter table loradex.{} enable replica trigger append_only",
        "drop trigger append_only on loradex.{}",
        (
            "create or replace trigger append_only before update or delete or truncate on loradex.{} "
            "for each statement when (false) execute function loradex.refuse_change()"
        ),
        (
            "create or replace trigger append_only before insert on loradex.{} "
            "for each statement execute function loradex.refuse_change()"
        ),
        (
            "create or replace trigger append_only after update or delete or truncate on loradex.{} "
            "for each statement execute function loradex.refuse_change()"
        ),
        (
            "create or replace trigger another before insert on loradex.{} "
            "for each row execute function loradex.refuse_change()"
        ),
    ],
)
def test_a_trigger_that_was_tampered_with_is_found(scratch: World, statement: str, table: str) -> None:
    table = table.format(month=scratch.month)
    scratch.connection.execute(statement.format(table).encode())
    found = release_findings(scratch)
    assert found
    assert all(
        one.startswith("trigger ") and one.split(" on ")[1].startswith(f"loradex.{table}") for one in found
    )


def release_findings(world: World) -> list[str]:
    """As a verifier sees the functions, triggers and grants."""
    with world.connection.transaction(force_rollback=True):
        for setting in PINNED:
            world.connection.execute(setting)
        return [one.reason for one in Release.installed().findings(world.connection)]


SIGNATURE = "loradex.answer_hash(loradex.answers)"


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        (f"alter function {SIGNATURE} security definer", "unlike in definer"),
        (f"alter function {SIGNATURE} immutable", "unlike in volatility"),
        (f"alter function {SIGNATURE} strict", "unlike in strict"),
        (f"alter function {SIGNATURE} set search_path = public", "unlike in settings"),
        (f"alter function {SIGNATURE} set work_mem = '1GB'", "unlike in settings"),
        (f"alter function {SIGNATURE} reset all", "unlike in settings"),
        (f"grant execute on function {SIGNATURE} to public", "unlike in callers"),
        (f"revoke execute on function {SIGNATURE} from loradex_reader", "unlike in callers"),
        (f"alter function {SIGNATURE} owner to loradex_admin", "does not belong to the owner"),
        (f"drop function {SIGNATURE}", "of this release is missing"),
        (f"alter function {SIGNATURE} rename to another", "loradex.another(loradex.answers) does not belong"),
        (
            "create function loradex.answer_hash(text) returns bytea language sql as 'select null::bytea'",
            "function loradex.answer_hash(text) does not belong to this release",
        ),
        (
            "create function loradex.search_vectors() returns int language sql security definer as 'select 1'",
            "function loradex.search_vectors() does not belong to this release",
        ),
        (
            (
                'create or replace function loradex.audit_head() returns table ("position" bigint, answer_id uuid, '
                "chain_hash text, created_at timestamptz) language sql stable set search_path = pg_catalog, loradex, "
                "public, pg_temp begin atomic select null::bigint, null::uuid, null::text, null::timestamptz; end"
            ),
            "function loradex.audit_head() is not the one of this release: unlike in body",
        ),
    ],
)
def test_a_function_that_was_tampered_with_is_found(scratch: World, statement: str, reason: str) -> None:
    assert release_findings(scratch) == []
    scratch.connection.execute(statement.encode())
    assert reason in "\n".join(release_findings(scratch))


def test_the_release_knows_all_its_functions() -> None:
    made = sum(file.text.count("\ncreate or replace function loradex.") for file in live_files())
    release = Release.installed()
    assert len(release.functions) == made
    assert all(one.body and one.settings for one in release.functions.values())


@pytest.mark.parametrize("table", ["answers", PART])
@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("grant update on loradex.{} to loradex_worker", "loradex_worker may UPDATE on loradex.{}"),
        ("grant insert, delete on loradex.{} to public", "public may DELETE, INSERT on loradex.{}"),
        ("grant truncate on loradex.{} to loradex_client", "loradex_client may TRUNCATE on loradex.{}"),
        ("grant trigger on loradex.{} to loradex_reader", "loradex_reader may TRIGGER on loradex.{}"),
        (
            "grant pg_write_all_data to loradex_admin",
            "loradex_admin may DELETE, INSERT, UPDATE on loradex.{}",
        ),
    ],
)
def test_a_right_to_write_is_found(scratch: World, table: str, statement: str, reason: str) -> None:
    table = table.format(month=scratch.month)
    scratch.connection.execute(statement.format(table).encode())
    assert reason.format(table) in release_findings(scratch)


def test_a_right_to_write_one_column_is_found(scratch: World) -> None:
    scratch.connection.execute("grant update (text) on loradex.answers to loradex_worker")
    assert "loradex_worker may UPDATE on loradex.answers" in release_findings(scratch)


def test_members_of_the_owner_are_the_owner(scratch: World) -> None:
    scratch.connection.execute("create role keeper login")
    scratch.connection.execute("grant loradex_admin to keeper")
    scratch.connection.execute("alter table loradex.answers owner to loradex_admin")
    assert not [one for one in release_findings(scratch) if "keeper" in one]


@pytest.mark.parametrize("name", ["loradex_reader", "loradex_worker", "loradex_admin"])
def test_whoever_may_read_everything_may_verify(world: World, role_url: RoleUrl, name: str) -> None:
    world.answered({})
    with Audit.at(role_url(name)) as audit:
        assert list(audit.breaks()) == []


def test_a_client_sees_too_little_to_verify(world: World, role_url: RoleUrl) -> None:
    with pytest.raises(PermissionRefusedError, match="hides rows"), Audit.at(role_url("loradex_client")):
        pass


def test_a_setting_of_the_login_or_the_database_does_not_shape_the_text(
    chain: World, database_url: str, verify: Verify
) -> None:
    name = database_url.rsplit("/", 1)[1]
    for setting in (
        "timezone = 'Asia/Kathmandu'",
        "datestyle = 'German'",
        "bytea_output = 'escape'",
        "extra_float_digits = -2",
        "search_path = 'loradex, public'",
        "statement_timeout = '1ms'",
        "client_encoding = 'LATIN1'",
    ):
        chain.connection.execute(f"alter database {name} set {setting}".encode())
    assert verify() == []


def test_an_own_operator_or_type_is_not_called(chain: World, verify: Verify) -> None:
    """`to_jsonb` would use such a cast, and so hash whatever it returns; and a bare `=` could be anybody's."""
    for statement in (
        "create function loradex.lie(public.vector) returns json language sql immutable as $$select '\"x\"'::json$$",
        "create cast (public.vector as json) with function loradex.lie(public.vector)",
        "create function public.never(uuid, uuid) returns bool language sql immutable as 'select false'",
        "create operator public.= (leftarg = uuid, rightarg = uuid, function = public.never)",
    ):
        chain.connection.execute(statement.encode())
    (found,) = verify()
    assert found.reason == "function loradex.lie(public.vector) does not belong to this release"


def test_a_missing_table_is_sent_to_the_upgrade(chain: World, verify: Verify) -> None:
    chain.connection.execute("drop table loradex.answers cascade")
    with pytest.raises(SchemaOutdatedError, match="loradex db upgrade"):
        verify()


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("loradex.answers drop previous_hash", "loradex.answers.previous_hash, which is missing"),
        ("loradex.answers alter position type text", "loradex.answers.position, which is text"),
        ("loradex.answers rename id to ident", "loradex.answers.id, which is missing"),
        ("loradex.answers drop salt", "loradex.answers.salt, which is missing"),
        ("loradex.answers add price money", "loradex.answers.price, which is money"),
    ],
)
def test_columns_of_another_version_are_not_guessed_at(
    chain: World, verify: Verify, statement: str, said: str
) -> None:
    chain.connection.execute("drop view loradex.answer_provenance cascade")
    chain.connection.execute(f"alter table {statement}".encode())
    with pytest.raises(SchemaOutdatedError, match=re.escape(said)):
        verify()


def test_a_head_must_be_a_hash(chain: World, verify: Verify) -> None:
    with pytest.raises(InvalidArgumentError, match="64 hex digits"):
        verify("abc")


@pytest.fixture
def command(role_url: RoleUrl, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Runs `loradex audit …` as a reader; returns the exit code."""
    monkeypatch.setenv("LORADEX_DATABASE_URL", role_url("loradex_reader"))
    return lambda *words: cli.run(["audit", *words])


def test_the_command_says_what_it_checked(
    chain: World, command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("head") == 0
    head = capsys.readouterr().out.strip()

    assert command("verify", "--head", head, "--head", head.upper()) == 0

    said = capsys.readouterr()
    assert said.out.startswith("intact: 3 answers\nchecked: 3 answers, hashed here; ")
    assert "3/3" in said.err


def test_the_command_names_what_is_wrong(
    chain: World, command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    chain.rows("update loradex.answers set text = 'forged' where position = 2 returning 1")
    chain.connection.execute("grant update on loradex.answers to loradex_admin")

    assert command("verify") == 1
    said = capsys.readouterr().out
    assert str(second(chain)) in said
    assert "loradex_admin may UPDATE on loradex.answers" in said
    assert "checked: 3 answers" in said

    assert command("verify", "--json", "--head", "0" * 64) == 1
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert (told["answers"], told["intact"], told["heads"]) == (3, False, 1)
    assert [one["position"] for one in told["broken"]] == [None, 2, None]
    assert told["broken"][1]["answer_id"] == str(second(chain))


def test_an_empty_chain_has_no_head(
    world: World, command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["head"], ["head", "--json"]):
        assert command(*words) == 1
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err == "loradex: there are no answers yet, and so there is no head to keep\n"
    assert command("verify") == 0
    assert capsys.readouterr().out.startswith("intact: 0 answers\n")
