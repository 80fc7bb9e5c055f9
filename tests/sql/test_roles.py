"""Least privilege: what each role may do, over all functions and tables; clients see their own alone."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb
from tests.fix_db import PASSWORD, ROLES, RoleUrl, new_database, with_user
from tests.world import World

from loradex.db.logins import group_named, set_logins
from loradex.db.session import connect
from loradex.embedded import EmbeddedPostgres

EVIDENCE = {"answers"}
SHOWN = {"merge_components", "merge_results", "retrieved_examples", "retrieved_tasks", "retrievals"}
"""Views of answers."""
CATALOGUE = {
    *(
        "adapters",
        "base_model_aliases",
        "base_models",
        "encoders",
        "examples",
        "methods",
        "settings",
        "task_affinities",
        "tasks",
    ),
}
INNER = {
    *("archives", "erasures", "example_embeddings", "evaluations", "projected_examples", "projections"),
    "workers",
}
SELECT = {
    "loradex_client": EVIDENCE | CATALOGUE | {"feedback", "jobs"},
    "loradex_reader": EVIDENCE | CATALOGUE | INNER | {"feedback", "jobs"},
    "loradex_worker": EVIDENCE | CATALOGUE | INNER | {"feedback", "jobs"},
    "loradex_admin": EVIDENCE | CATALOGUE | INNER | {"feedback", "jobs"},
}
WRITE = {
    ("loradex_admin", "examples", "INSERT"),
    ("loradex_admin", "examples", "DELETE"),
    ("loradex_admin", "example_embeddings", "DELETE"),
    ("loradex_admin", "evaluations", "INSERT"),
    *(
        ("loradex_admin", table, right)
        for table in ("projected_examples", "projections")
        for right in ("INSERT", "DELETE")
    ),
}
UPDATE = {
    ("loradex_admin", "examples", "prompt"),
    ("loradex_admin", "examples", "target"),
}
VECTOR = ["embedding", "encoder", "example_id", "task"]
"""What the administrator may say of an example; `duplicate_of` is found out."""
QUEUE = {
    *("claim_embeddings", "record_embeddings"),
    *("claim_replay", "keep_replay", "record_replay", "release_replay"),
    *(
        "announce_worker",
        "describe_base_model",
        "claim_jobs",
        "expire_jobs",
        "extend_lease",
        "fail_job",
        "record_answer",
        "release_jobs",
    ),
    *("route_jobs", "withdraw_worker"),
}
REGISTRY = {
    *(
        "build_encoder_index",
        "create_api_key",
        "list_api_keys",
        "revoke_api_key",
        "limit_api_key",
        "rotate_api_key",
        "build_search",
        "change_setting",
        "drop_encoder_index",
        "archivable",
        "drop_archived",
        "erase_jobs",
        "jobs_to_erase",
        "group_duplicates",
        "register_adapter",
    ),
    *("register_base_model", "register_affinity", "register_encoder", "register_task", "set_adapter_state"),
    *("set_chat_template", "set_generation_defaults"),
    *("alias_base_model", "describe_base_model", "retire_base_model", "retire_encoder"),
}
OWN = {
    "current_owner",
    "examples_hash",
    "recipe_hash",
    "shown",
    "answer_canonical",
    "answer_commitments",
    "answer_erasable",
    "choice_form",
    "framed_text",
    "first_id",
    "answer_document",
    "answer_hash",
    "expiry",
    "explain",
    "finish_reason",
    "is_served",
    "job_request",
    "monitor_figures",
}
KEYED = {"authenticate", "domain_edge", "take_requests", "what_if"}
ASKING = {
    "ask_embeddings",
    "ask_replay",
    "cancel_job",
    "cancel_jobs",
    "check_call_size",
    "enqueue_jobs",
    "job_obstacle",
    "job_outcome",
    "leave_embeddings",
    "leave_replay",
    "own_jobs",
    "rate_answer",
    "take_embeddings",
    "take_replay",
}
INTERNAL = {
    *(
        "activate_adapter",
        "check_answer",
        "claim_hash",
        "check_jobs",
        "check_scope",
        "check_lease",
        "check_key_limits",
        "current_key",
        "complete_job",
        "next_turns",
        "end_job",
        "fresh_jobs",
        "fence_job",
        "give_up_job",
        "held_seconds",
        "make_partition",
        "notify_job",
        "notify_workers",
        "refuse_change",
        "refuse_rewriting",
        "seal_tenant",
    ),
}
"""Called inside other functions only, as their owner."""


def functions(world: World, role: str) -> set[str]:
    return {
        row[0]
        for row in world.rows(
            "select proname from pg_proc where pronamespace = 'loradex'::regnamespace "
            "and has_function_privilege(%s, oid, 'execute')",
            role,
        )
    }


def test_the_matrix_of_functions(scratch: World) -> None:
    every = {
        row[0]
        for row in scratch.rows("select proname from pg_proc where pronamespace = 'loradex'::regnamespace")
    }
    reading = every - QUEUE - REGISTRY - INTERNAL - ASKING - KEYED
    assert functions(scratch, "loradex_client") == OWN | ASKING | KEYED
    assert functions(scratch, "loradex_reader") == reading
    assert functions(scratch, "loradex_worker") == reading | QUEUE
    assert functions(scratch, "loradex_admin") == reading | REGISTRY | ASKING
    assert functions(scratch, "public") == set()


@pytest.mark.parametrize("role", ROLES)
def test_the_matrix_of_tables(scratch: World, role: str) -> None:
    tables = {
        row[0]
        for row in scratch.rows(
            "select relname from pg_class where relnamespace = 'loradex'::regnamespace and relkind in ('r', 'p')"
        )
    }
    assert {
        table
        for table in tables
        if scratch.value("select has_table_privilege(%s, %s, 'select')", role, f"loradex.{table}")
    } == SELECT[role]
    for table in tables:
        for right in ("INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"):
            allowed = scratch.value("select has_table_privilege(%s, %s, %s)", role, f"loradex.{table}", right)
            assert allowed == ((role, table, right) in WRITE), (role, table, right)
    updatable = scratch.rows(
        """
        select c.relname, a.attname from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
        where c.relnamespace = 'loradex'::regnamespace and c.relkind in ('r', 'p')
          and has_column_privilege(%s, c.oid, a.attnum, 'update')
        """,
        role,
    )
    assert {(role, *row) for row in updatable} == {row for row in UPDATE if row[0] == role}
    insertable = scratch.rows(
        """
        select attname from pg_attribute
        where attrelid = 'loradex.example_embeddings'::regclass and attnum > 0
          and has_column_privilege(%s, attrelid, attnum, 'insert') order by 1
        """,
        role,
    )
    assert [name for (name,) in insertable] == (VECTOR if role == "loradex_admin" else [])
    assert not scratch.value("select has_schema_privilege(%s, 'loradex', 'create')", role)


def test_roles_have_no_power_over_the_cluster(scratch: World) -> None:
    assert (
        scratch.rows(
            "select rolname from pg_roles where rolname like 'loradex\\_%%' "
            "and (rolsuper or rolcreatedb or rolcreaterole or rolbypassrls or rolreplication)"
        )
        == []
    )


def ask(url: str, **job: Any) -> Any:
    with connect(url) as connection:
        row = connection.execute(
            "select job_id from loradex.enqueue_jobs(%s)", (Jsonb([{"prompt": "Is it late?", **job}]),)
        ).fetchone()
        assert row is not None
        return row[0]


def test_a_job_through_its_roles(world: World, role_url: RoleUrl) -> None:
    """The client asks, the worker answers, both as no more than what they are."""
    alice, bob = role_url("loradex_client", member=True), role_url("loradex_client", member=True)
    mine, theirs = ask(alice), ask(bob)
    with connect(role_url("loradex_worker")) as connection:
        worker = World(connection, world.centres, world.rng)
        attempts = worker.claim()
        assert set(attempts) == {mine, theirs}
        query = worker.near("boats")
        routings = worker.route([mine, theirs], [query, query])
        answers = {job: worker.record(job, attempts[job], routings[job]) for job in (mine, theirs)}
        assert worker.value("select loradex.explain(%s)", answers[theirs])["owner"].startswith("member_")
    with connect(alice) as connection:
        client = World(connection, world.centres, world.rng)
        assert client.rows("select id from loradex.jobs") == [(mine,)]
        for table in EVIDENCE | SHOWN:
            column = "id" if table == "answers" else "answer_id"
            assert {row[0] for row in client.rows(f"select {column} from loradex.{table}")} == {
                answers[mine]
            }, table
        assert client.value("select loradex.explain(%s)", answers[mine])["job_id"] == str(mine)
        with pytest.raises(psycopg.Error, match="another user") as error:
            client.rows("select loradex.explain(%s)", answers[theirs])
        assert error.value.sqlstate == "LX004"
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            client.connection.execute("set role loradex_client")
    with connect(role_url("loradex_reader")) as connection:
        reader = World(connection, world.centres, world.rng)
        assert {row[0] for row in reader.rows("select id from loradex.answers")} == set(answers.values())
        assert reader.rows("select * from loradex.verify_audit_chain()") == []
        assert reader.rows("select * from loradex.reroute(%s)", answers[mine])


def test_a_key_is_its_owners(world: World, role_url: RoleUrl) -> None:
    alice, bob = role_url("loradex_client", member=True), role_url("loradex_client", member=True)
    assert ask(alice, idempotency_key="1") != ask(bob, idempotency_key="1")


@pytest.fixture(scope="module")
def standing(postgres: EmbeddedPostgres, stocked: str) -> Iterator[str]:
    """A database that tests share because each of them is refused."""
    with new_database(postgres, stocked) as url:
        yield url


REFUSED = {
    "loradex_client": [
        "select * from loradex.example_embeddings",
        "insert into loradex.jobs (prompt) values ('x')",
        "update loradex.jobs set priority = 9",
        "select loradex.claim_jobs('w', 1, '1s', 1)",
        "select * from loradex.nearest_examples('[1]')",
        "select loradex.register_task('x', 'y', 'accuracy')",
        "delete from loradex.answers",
    ],
    "loradex_reader": [
        "select loradex.enqueue_jobs('[]')",
        "select loradex.cancel_job(gen_random_uuid())",
        "select loradex.claim_jobs('w', 1, '1s', 1)",
        "insert into loradex.evaluations default values",
        "delete from loradex.answers",
        "create table loradex.mine (id int)",
    ],
    "loradex_worker": [
        "insert into loradex.answers default values",
        "update loradex.jobs set state = 'done'",
        "update loradex.answers set text = ''",
        "delete from loradex.answers",
        "select loradex.enqueue_jobs('[]')",
        "select loradex.set_adapter_state('boats-lora', 1, 'retired')",
        "select loradex.fence_job(gen_random_uuid(), 1)",
        "delete from loradex.examples",
        "alter table loradex.answers disable trigger all",
        "set session_replication_role = replica",
    ],
    "loradex_admin": [
        "insert into loradex.answers default values",
        "update loradex.answers set text = ''",
        "delete from loradex.answers",
        "truncate loradex.answers",
        "update loradex.adapters set sha256 = ''",
        "update loradex.examples set sha256 = ''",
        "select loradex.claim_jobs('w', 1, '1s', 1)",
        "alter table loradex.answers disable trigger all",
        "drop trigger append_only on loradex.answers",
    ],
}


@pytest.mark.parametrize(
    ("role", "statement"), [(role, one) for role, all_ in REFUSED.items() for one in all_]
)
def test_a_role_is_refused_everything_else(standing: str, role: str, statement: str) -> None:
    with (
        connect(with_user(standing, role)) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(statement.encode())


def test_the_administrator_fills_the_library(world: World, role_url: RoleUrl) -> None:
    with connect(role_url("loradex_admin")) as connection:
        admin = World(connection, world.centres, world.rng)
        admin.rows("select loradex.register_task('new', 'things', 'accuracy')")
        admin.rows("select loradex.register_encoder('another', 'r1', 4)")
        admin.rows("select loradex.register_base_model('another', 'r1', 64)")
        admin.add_example("new", "new-1", admin.near("boats"))
        admin.register("new")
        with admin.connection.transaction():
            admin.connection.execute("lock table loradex.examples in share row exclusive mode")
        admin.rows("select loradex.set_adapter_state('new-lora', null, 'retired')")
        admin.rows("select loradex.change_setting('max_waiting_jobs', '10')")
        admin.rows("delete from loradex.examples where task = 'new' returning 1")


def test_a_stranger_sees_nothing(world: World, role_url: RoleUrl, postgres: Any) -> None:
    url = role_url("pg_read_all_settings", member=True)
    with connect(url) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("select * from loradex.methods")


def test_a_login_made_again_is_somebody_else(world: World, database_url: str) -> None:
    """The name is the same, the owner is not."""
    login = {"one_who_returns": (group_named("client"), PASSWORD)}
    url = with_user(database_url, "one_who_returns")
    asked = []
    for _ in range(2):
        set_logins(database_url, login)
        try:
            asked.append(ask(url, idempotency_key="1"))
            with connect(url) as connection:
                assert connection.execute("select id from loradex.jobs").fetchall() == [(asked[-1],)]
        finally:
            world.connection.execute("drop role one_who_returns")
    assert len(set(asked)) == 2
