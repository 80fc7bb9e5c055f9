"""Answers: recorded once, fenced, explained, append-only, chained; every forgery is found."""

import threading
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb
from tests.world import World

from loradex.db.session import connect

SAID = {"seed": 7, "frame": "{prompt}", "device": "cpu", "dtype": "float32"}


def ended(reason: str | None) -> dict[str, Any]:
    """What a worker says of a text, or a choice, that ends for a reason."""
    return {"generation": SAID | {"finish_reason": reason}}


def broken(world: World) -> list[tuple[Any, ...]]:
    return world.rows("select position, answer_id, reason from loradex.verify_audit_chain()")


def test_an_answer_holds_all_that_led_to_it(scratch: World) -> None:
    (job,) = scratch.enqueue({"choices": ["yes", "no"], "expected_task": "boats", "top_p": 1.0})
    attempt = scratch.claim("w7")[job]
    query = scratch.near("boats", 0.3)
    routing = scratch.route([job], [query])[job]
    answer = scratch.record(job, attempt, routing)
    told = scratch.value("select loradex.explain(%s)", answer)
    assert told["answer_id"] == str(answer)
    assert (told["job_id"], told["attempt"], told["kind"]) == (str(job), 1, "choose")
    assert (told["choices"], told["choice"], told["scores"]) == (["yes", "no"], "yes", [-0.25, -1.5])
    assert (told["method"], told["expected_task"], told["base_model"]) == (
        "affinity_calibrated_cat",
        "boats",
        "smollm2-135m-instruct",
    )
    assert told["retrieval"]["query"] == pytest.approx(query.tolist(), rel=1e-6)
    for name in (
        "encoder",
        "encoder_revision",
        "k",
        "top_p",
        "temperature",
        "exclude_tasks",
        "exclude_adapters",
    ):
        assert told["retrieval"][name] == routing[name]
    assert told["retrieval"]["examples_hash"] == routing["examples_hash"]
    assert told["distribution"] == routing["distribution"]
    assert [{name: one[name] for name in routing["neighbours"][0]} for one in told["neighbours"]] == routing[
        "neighbours"
    ]
    assert told["neighbours"][0]["prompt"].startswith("What about ")
    assert [{name: one[name] for name in routing["mixture"][0]} for one in told["mixture"]] == routing[
        "mixture"
    ]
    assert {one["update_norm"] for one in told["mixture"]} == {1.5}
    said = scratch.said(job, routing)
    for name in ("token_ids", "prompt_tokens", "output_tokens", "timings", "versions", "text"):
        assert told[name] == said[name]
    assert told["generation"] == said["generation"] | {
        "kind": "choose",
        "choices": ["yes", "no"],
        "density": 0.5,
        "normalization": "tokens",
        "max_new_tokens": 64,
        "sampling_temperature": 0,
        "sampling_top_p": 1,
        "stream": False,
    }
    merge = {name: value for name, value in said["merge"].items() if name != "component_norms"}
    decided = {"method": "affinity_calibrated_cat", "merge": "cat", "calibrated": True, "density": 0.5}
    assert told["merge"] == merge | decided
    assert told["worker"] == "w7"
    assert told["chain"]["position"] == 1
    assert told["chain"]["previous_hash"] == "00" * 32
    assert scratch.rows("select state, lease_until, finished_at is not null from loradex.jobs") == [
        ("done", None, True)
    ]
    again = scratch.rows("select task, probability from loradex.reroute(%s)", answer)
    assert dict(again) == pytest.approx({one["task"]: one["probability"] for one in told["distribution"]})
    assert len(scratch.rows("select * from loradex.reroute(%s, 1)", answer)) == 1


def test_a_text_that_was_exchanged_is_not_shown_as_evidence(scratch: World) -> None:
    """Who fills the library may delete an example and put another text under its id."""
    (answer,) = scratch.answered({}, near="boats")
    told = scratch.value("select loradex.explain(%s)", answer)
    assert told["neighbours_texts"] == "as they were"
    example = told["neighbours"][0]["example_id"]
    scratch.rows("delete from loradex.examples where id = %s returning 1", example)
    scratch.rows(
        "insert into loradex.examples (id, task, source_ref, prompt, target, sha256) overriding system value "
        "select %s, 'boats', 'forged', 'Forged?', 'yes', encode(sha256(convert_to('Forged?' || chr(31) || 'yes', "
        "'UTF8')), 'hex') returning 1",
        example,
    )
    told = scratch.value("select loradex.explain(%s)", answer)
    assert told["neighbours_texts"].startswith("withheld")
    assert {one["prompt"] for one in told["neighbours"]} == {None}
    assert broken(scratch) == []


def test_a_waiting_client_is_told(world: World, database_url: str) -> None:
    with connect(database_url) as listener:
        listener.execute("listen loradex_jobs")
        world.answered({})
        (job,) = world.rows("select id from loradex.jobs")
        assert [notice.payload for notice in listener.notifies(timeout=5, stop_after=1)] == [str(job[0])]


def test_a_worker_back_from_the_dead_is_refused(scratch: World) -> None:
    (job,) = scratch.enqueue({})
    scratch.claim("w1", lease="1 microsecond")
    # A lease is over as soon as the clock of the transaction says so; the test's stands still.
    scratch.rows("select id from loradex.claim_jobs('w2', 1, '10s', 3, now() + interval '1 minute')")
    query = scratch.near("boats")
    routing = scratch.route([job], [query])[job]
    with pytest.raises(psycopg.Error, match="drop this result") as error, scratch.connection.transaction():
        scratch.record(job, 1, routing)
    assert error.value.sqlstate == "LX006"
    answer = scratch.record(job, 2, routing)
    with pytest.raises(psycopg.Error) as error, scratch.connection.transaction():
        scratch.record(job, 2, routing)
    assert error.value.sqlstate == "LX006"
    assert scratch.rows("select id from loradex.answers") == [(answer,)]


@pytest.mark.parametrize(
    ("change", "sqlstate"),
    [
        ({"text": None}, "LX001"),
        ({"token_ids": None}, "LX001"),
        ({"token_ids": ["x"]}, "LX001"),
        ({"scores": "many"}, "LX001"),
        ({"prompt_tokens": "three"}, "LX001"),
        ({"generation": None}, "LX001"),
        ({"merge": {"recipe_hash": "x"}}, "LX001"),
        ({"merge": None}, "LX001"),
    ],
)
def test_an_incomplete_answer_leaves_nothing_behind(
    scratch: World, change: dict[str, Any], sqlstate: str
) -> None:
    (job,) = scratch.enqueue({})
    scratch.claim()
    query = scratch.near("boats")
    routing = scratch.route([job], [query])[job]
    with pytest.raises(psycopg.Error) as error, scratch.connection.transaction():
        scratch.record(job, 1, routing, **change)
    assert error.value.sqlstate == sqlstate, str(error.value)
    assert scratch.value("select count(*) from loradex.answers") == 0
    assert scratch.value("select state from loradex.jobs") == "running"


@pytest.mark.parametrize(
    ("job", "change"),
    [
        ({"choices": ["yes", "no"]}, {"choice": "banana", "text": "banana"}),
        ({"choices": ["yes", "no"]}, {"choice": None}),
        ({"choices": ["yes", "no"]}, {"text": "no"}),
        ({"choices": ["yes", "no"]}, {"scores": [0.5]}),
        ({"choices": ["yes", "no"]}, {"scores": [0.5, "high"]}),
        ({"choices": ["yes", "no"]}, {"scores": None}),
        ({}, {"choice": "yes"}),
        ({}, {"scores": [1.0]}),
        ({}, {"output_tokens": 2}),
        ({}, {"output_tokens": 3.5}),
        ({"max_new_tokens": 2}, {}),
        ({}, ended("length")),
        ({}, ended("choice")),
        ({}, ended(None)),
        ({"choices": ["yes", "no"]}, ended("stop")),
        ({}, {"timings": {"total": "abc"}}),
        ({}, {"timings": {"total": -1}}),
        ({}, {"timings": []}),
        ({}, {"versions": {"torch": 2}}),
        ({}, {"base_model_revision": "another"}),
    ],
)
def test_an_answer_that_cannot_be_true_is_refused(
    scratch: World, job: dict[str, Any], change: dict[str, Any]
) -> None:
    """What a stolen worker's password may say: nothing that the job and its routing contradict."""
    (asked,) = scratch.enqueue(job)
    attempt = scratch.claim()[asked]
    routing = scratch.route([asked], [scratch.near("boats")])[asked]
    with pytest.raises(psycopg.Error, match="cannot be recorded") as error, scratch.connection.transaction():
        scratch.record(asked, attempt, routing, **change)
    assert error.value.sqlstate == "LX001"


@pytest.mark.parametrize(
    "change",
    [
        {"recipe_hash": "ab" * 32},
        {"dtype": "bfloat16"},
        {"update_norm": "much"},
        {"sign_conflict": "x"},
        {"component_norms": [1.0] * 99},
        {"component_norms": "many"},
    ],
)
def test_a_merge_that_was_not_decided_is_refused(scratch: World, change: dict[str, Any]) -> None:
    (job,) = scratch.enqueue({"top_p": 1.0})
    attempt = scratch.claim()[job]
    routing = scratch.route([job], [scratch.near("boats", 0.5)])[job]
    merge = scratch.said(job, routing)["merge"] | change
    with pytest.raises(psycopg.Error, match="cannot be recorded") as error, scratch.connection.transaction():
        scratch.record(job, attempt, routing, merge=merge)
    assert error.value.sqlstate == "LX001"


@pytest.mark.parametrize(
    ("reason", "told"),
    [({}, "length"), ({"finish_reason": "stop"}, "stop"), ({"finish_reason": "length"}, "length")],
)
def test_a_text_may_come_to_its_end_with_the_last_token_it_is_allowed(
    scratch: World, reason: dict[str, str], told: str
) -> None:
    (asked,) = scratch.enqueue({"max_new_tokens": 3})
    attempt = scratch.claim()[asked]
    routing = scratch.route([asked], [scratch.near("boats")])[asked]
    scratch.record(asked, attempt, routing, generation=SAID | reason)
    document = scratch.value("select answer from loradex.job_outcome(%s)", asked)
    assert (document["output_tokens"], document["finish_reason"]) == (3, told)


def test_settings_and_routing_are_not_the_workers_to_say(scratch: World) -> None:
    (job,) = scratch.enqueue({"k": 5, "seed": 3})
    attempt = scratch.claim("w1")[job]
    routing = scratch.route([job], [scratch.near("boats")])[job]
    lies = {"worker": "w9", "owner": "somebody", "prompt": "x", "position": 99, "created_at": "2001-01-01"}
    generation = {"max_new_tokens": 9999, "seed": 8, "frame": "{prompt}", "device": "cpu", "dtype": "float32"}
    answer = scratch.record(job, attempt, routing, **lies, generation=generation)
    told = scratch.value("select loradex.explain(%s)", answer)
    assert (told["worker"], told["prompt"], told["chain"]["position"]) == ("w1", "Is it warm?", 1)
    assert told["owner"] != "somebody"
    assert not told["created_at"].startswith("2001")
    assert (told["generation"]["max_new_tokens"], told["generation"]["seed"]) == (64, 3)
    assert told["retrieval"]["k"] == 5


def test_a_job_without_its_routing_is_to_be_released(scratch: World) -> None:
    """As after a crash of Postgres, which empties the table of routings."""
    (job,) = scratch.enqueue({})
    attempt = scratch.claim()[job]
    routing = scratch.route([job], [scratch.near("boats")])[job]
    scratch.connection.execute("delete from loradex.routings")
    with pytest.raises(psycopg.Error, match="release it") as error, scratch.connection.transaction():
        scratch.record(job, attempt, routing)
    assert error.value.sqlstate == "LX010"
    assert scratch.value("select loradex.release_jobs('w1', %s)", [job]) == 1
    attempt = scratch.claim()[job]
    routing = scratch.route([job], [scratch.near("boats")])[job]
    assert scratch.record(job, attempt, routing)
    assert scratch.value("select count(*) from loradex.routings") == 0


def test_no_end_of_a_job_leaves_its_routing_behind(scratch: World) -> None:
    answered, failed, lost = scratch.enqueue({}, {}, {})
    attempts = scratch.claim(attempts=1)
    routings = scratch.route([answered, failed, lost], [scratch.near("boats")] * 3)
    assert scratch.value("select count(*) from loradex.routings") == 3
    scratch.record(answered, attempts[answered], routings[answered])
    scratch.rows("select loradex.fail_job(%s, 1, 'no_reason', 'none')", failed)
    scratch.rows("select loradex.claim_jobs('w2', 1, '10s', 1, now() + interval '1 hour')")
    assert scratch.value("select error_code from loradex.jobs where id = %s", lost) == "too_many_attempts"
    assert scratch.value("select count(*) from loradex.routings") == 0


def test_an_answer_is_not_larger_than_a_call(scratch: World) -> None:
    (job,) = scratch.enqueue({})
    attempt = scratch.claim()[job]
    routing = scratch.route([job], [scratch.near("boats")])[job]
    scratch.rows("select loradex.change_setting('max_call_bytes', '10000')")
    with pytest.raises(psycopg.Error, match="max_call_bytes") as error:
        scratch.record(job, attempt, routing, text="x" * 10_001)
    assert error.value.sqlstate == "LX001"


def test_the_recipe_can_be_computed_from_stored_rows(scratch: World) -> None:
    scratch.answered({"top_p": 1.0}, {"method": "ties", "density": 0.25}, {"method": "base"}, near="boats")
    assert (
        scratch.rows(
            """
            select m.answer_id from loradex.merge_results m
            where m.recipe_hash <> loradex.recipe_hash(m.merge, m.calibrated, m.density, m.dtype, (
                select coalesce(jsonb_agg(jsonb_build_object('sha256', c.sha256, 'weight', c.weight) order by c.rank),
                                '[]')
                from loradex.merge_components c where c.answer_id = m.answer_id))
            """
        )
        == []
    )


@pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
def test_a_snapshot_from_before_is_refused(world: World, isolation: str) -> None:
    """An old snapshot would count too few jobs, and chain to an old link."""
    (job,) = world.enqueue({})
    attempt = world.claim()[job]
    routing = world.route([job], [world.near("boats")])[job]
    document = Jsonb(world.said(job, routing))
    for statement, values in (
        ('select loradex.enqueue_jobs(\'[{"prompt": "x"}]\')', ()),
        ("select loradex.record_answer(%s, %s, %s)", (job, attempt, document)),
    ):
        world.connection.execute(f"set default_transaction_isolation = '{isolation}'".encode())
        with pytest.raises(psycopg.Error, match="READ COMMITTED") as error:
            world.rows(statement, *values)
        assert error.value.sqlstate == "LX001"


@pytest.mark.parametrize("table", ["answers", "answers_{month}", "evaluations"])
@pytest.mark.parametrize("statement", ["update {} set {} = {}", "delete from {}", "truncate {} cascade"])
def test_evidence_refuses_change_even_by_its_owner(world: World, table: str, statement: str) -> None:
    world.answered({})
    table = table.format(month=world.month)
    column = world.value(
        "select attname from pg_attribute where attrelid = %s::regclass and attnum = 2", f"loradex.{table}"
    )
    with pytest.raises(psycopg.Error, match="evidence") as error:
        world.rows(statement.format(f"loradex.{table}", column, column))
    assert error.value.sqlstate == "LX009"


@pytest.mark.parametrize(
    "statement", ["delete from loradex.adapters", "update loradex.adapters set sha256 = sha256"]
)
def test_an_adapter_is_its_content(scratch: World, statement: str) -> None:
    with pytest.raises(psycopg.Error) as error:
        scratch.rows(statement)
    assert error.value.sqlstate == "LX009"


def test_concurrent_writers_make_one_chain(world: World, database_url: str) -> None:
    writers, each = 4, 6
    ids = world.enqueue(*[{}] * (writers * each))
    attempts = world.claim(rows=len(ids))
    queries = [world.near("boats") for _ in ids]
    routings = world.route(ids, queries)
    failures: list[BaseException] = []

    def write(own: list[int]) -> None:
        try:
            with connect(database_url) as connection:
                mine = World(connection, world.centres, world.rng)
                for index in own:
                    mine.record(ids[index], attempts[ids[index]], routings[ids[index]])
        except BaseException as error:  # noqa: BLE001 - it is reported below
            failures.append(error)

    threads = [
        threading.Thread(target=write, args=(list(range(start, len(ids), writers)),))
        for start in range(writers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert world.rows("select position from loradex.answers order by 1") == [
        (n,) for n in range(1, len(ids) + 1)
    ]
    assert broken(world) == []


def test_the_hash_does_not_depend_on_the_readers_settings(scratch: World) -> None:
    scratch.answered({}, {})
    for setting in (
        "timezone = 'Asia/Kathmandu'",
        "datestyle = 'German'",
        "bytea_output = 'escape'",
        "extra_float_digits = -2",
        "intervalstyle = 'iso_8601'",
        "search_path = ''",
    ):
        scratch.connection.execute(f"set local {setting}".encode())
    assert broken(scratch) == []


@pytest.fixture
def forger(world: World) -> World:
    """Three answers, the second to a conversation, and a superuser whose triggers and foreign keys are off."""
    plain = {"top_p": 1.0, "choices": ["yes", "no"]}
    asked = {"prompt": None, "messages": [{"role": "user", "content": "Is it warm?"}]}
    world.answered(plain, plain | asked, plain)
    assert broken(world) == []
    world.connection.execute("set session_replication_role = replica")
    return world


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
    "ARRAY": "{c} || {c}[1:1]",
    "USER-DEFINED": "({c} + array_fill(0.001::real, array[vector_dims({c})])::vector)",
}
NOTHING = {
    "exclude_tasks": "array['forged']",
    "exclude_adapters": "array['forged']",
    "stop": "array['forged']",
    "held_to": """'{"regex": "forged"}'""",
    "logprobs": "'[]'",
}
"""What these answers have nothing in."""


def test_a_changed_value_in_any_column_is_found(forger: World) -> None:
    columns = forger.rows(
        "select column_name, data_type from information_schema.columns "
        "where table_schema = 'loradex' and table_name = 'answers' "
        # Null until an answer is erased: see test_erasing.
        "and column_name <> 'commitments' order by 1"
    )
    assert len(columns) > 50
    missed = []
    for column, kind in columns:
        change = NOTHING.get(column) or OTHER[kind].format(c=column)
        with forger.connection.transaction(force_rollback=True):
            assert forger.rows(
                f"update loradex.answers set {column} = {change} where position = 2 and "
                f"({column} is not null or {column in NOTHING}) returning 1"
            ), column
            if not broken(forger):
                missed.append(column)
    assert missed == []


@pytest.mark.parametrize("column", ["choice", "scores"])
def test_a_value_made_null_is_found(forger: World, column: str) -> None:
    forger.rows(f"update loradex.answers set {column} = 'x' where position = 2 returning 1") if (
        column == "choice"
    ) else forger.rows("update loradex.answers set scores = null where position = 2 returning 1")
    assert [row[0] for row in broken(forger)] == [2]


def test_an_answer_deleted_in_the_middle_is_found(forger: World) -> None:
    forger.rows("delete from loradex.answers where position = 2 returning 1")
    found = broken(forger)
    assert (found[0][0], "missing" in found[0][2]) == (3, True)


def test_a_cut_tail_is_found_by_the_head_kept_elsewhere(forger: World) -> None:
    ((position, _, head, _),) = forger.rows("select * from loradex.audit_head()")
    assert position == 3
    forger.rows("delete from loradex.answers where position = 3 returning 1")
    forger.connection.execute("set session_replication_role = origin")
    assert broken(forger) == []
    forger.answered({})
    assert (
        forger.value("select count(*) from loradex.answers where chain_hash = decode(%s, 'hex')", head) == 0
    )


def test_two_answers_that_change_places_are_found(forger: World) -> None:
    forger.rows("update loradex.answers set position = -1 where position = 2 returning 1")
    forger.rows("update loradex.answers set position = 2 where position = 3 returning 1")
    forger.rows("update loradex.answers set position = 3 where position = -1 returning 1")
    assert {row[0] for row in broken(forger)} == {2, 3}


def test_a_doctored_copy_with_a_hash_of_its_own_is_found(forger: World) -> None:
    """Whoever recomputes the hash of one answer breaks the link to the next."""
    forger.rows("update loradex.answers set text = 'forged' where position = 2 returning 1")
    forger.rows(
        "update loradex.answers a set chain_hash = loradex.answer_hash(a) where position = 2 returning 1"
    )
    assert [(row[0], "previous_hash" in row[2]) for row in broken(forger)] == [(3, True)]


def test_several_processes_find_what_one_finds(forger: World) -> None:
    ids = [row[0] for row in forger.rows("select id from loradex.answers order by position")]
    forger.rows("update loradex.answers set text = 'no' where id = %s returning 1", ids[0])
    forger.rows("delete from loradex.answers where id = %s returning 1", ids[1])
    alone = broken(forger)
    assert len(alone) >= 2

    for setting in ("min_parallel_table_scan_size = 0", "parallel_setup_cost = 0", "parallel_tuple_cost = 0"):
        forger.connection.execute(f"set {setting}")
    plan = forger.rows(
        "explain select id from loradex.answers a where a.chain_hash <> loradex.answer_hash(a)"
    )

    assert any("Gather" in row[0] for row in plan)
    assert broken(forger) == alone


def test_a_part_of_the_chain(forger: World) -> None:
    first, second, third = (row[0] for row in forger.rows("select id from loradex.answers order by position"))
    forger.rows("update loradex.answers set text = 'forged' where position = 3 returning 1")
    part = "select position from loradex.verify_audit_chain(%s, %s)"
    assert forger.rows(part, first, second) == []
    assert forger.rows(part, second, third) == [(3,)]
    assert forger.rows(part, third, None) == [(3,)]
    assert forger.rows(part, None, second) == []
