"""What people asked can be erased: the values go, the chain holds, and a note says what was done."""

import json
import re
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from tests.until import until
from tests.world import World

from loradex.db.session import connect
from loradex.service.audit import Audit
from loradex.service.audit.snapshot import PINNED

ERASE = "select jobs, answers from loradex.erase_jobs('asked to be forgotten', 'privacy', %s)"
SECRET = "The secret is 4711"
GONE = (
    "prompt",
    "messages",
    "choices",
    "stop",
    "held_to",
    "text",
    "choice",
    "token_ids",
    "logprobs",
    "query",
    "salt",
)


def verified(world: World) -> list[str]:
    """What the verifier finds in the chain, beside what the database itself finds."""
    own = [row[0] for row in world.rows("select reason from loradex.verify_audit_chain()")]
    with world.connection.transaction(force_rollback=True):
        for setting in PINNED:
            world.connection.execute(setting)
        return own + [one.reason for one in Audit(world.connection).breaks()]


def job_of(world: World, answer: object) -> object:
    return world.value("select job_id from loradex.answers where id = %s", answer)


def everything(world: World) -> str:
    """All text of all rows, but the name of who owns them."""
    tables = world.rows(
        "select relname from pg_class where relnamespace = 'loradex'::regnamespace and relkind in ('r', 'p') "
        "and relname not in ('owners', 'example_embeddings') and not relispartition"
    )
    return "".join(
        str(
            world.value(
                f"select coalesce(jsonb_agg(to_jsonb(t) - 'owner'), '[]')::text from loradex.{table} t"
            )
        )
        for (table,) in tables
    )


def test_texts_go_and_the_chain_holds(scratch: World) -> None:
    first, second, third = scratch.answered(
        {
            "prompt": SECRET,
            "choices": [SECRET, "no"],
            "stop": [SECRET, "\n"],
            "idempotency_key": SECRET,
            "metadata": {"k": SECRET},
        },
        {},
        {"prompt": "other"},
    )
    assert scratch.rows("select count(*) from loradex.jobs where asked is not null") == [(1,)]
    head = scratch.value("select chain_hash from loradex.audit_head()")
    before = scratch.value("select loradex.answer_canonical(a) from loradex.answers a where id = %s", first)
    assert scratch.rows(ERASE, [job_of(scratch, first)]) == [(1, 1)]

    assert SECRET not in everything(scratch)
    # Whoever guesses the words must not find them confirmed.
    assert scratch.rows("select count(*) from loradex.jobs where asked is not null") == [(0,)]
    assert scratch.rows(f"select {', '.join(GONE)} from loradex.answers where id = %s", first) == [
        (None,) * len(GONE)
    ]
    left = "select jsonb_strip_nulls(loradex.answer_erasable(a)) from loradex.answers a where id = %s"
    assert scratch.value(left, first) == {}
    assert (
        scratch.value("select loradex.answer_canonical(a) from loradex.answers a where id = %s", first)
        == before
    )
    assert scratch.rows("select count(*) from loradex.answers where commitments is null") == [(2,)]
    assert scratch.rows("select position, answers, reason, asked_by, login from loradex.erasures") == [
        (4, [first], "asked to be forgotten", "privacy", scratch.value("select session_user"))
    ]
    assert verified(scratch) == []
    assert (
        scratch.value("select count(*) from loradex.answers where encode(chain_hash, 'hex') = %s", head) == 1
    )
    assert scratch.rows("select position, answer_id from loradex.audit_head()") == [(4, None)]

    # The chain goes on behind the note, and what was erased stays so.
    (fourth,) = scratch.answered({})
    assert scratch.value("select position from loradex.answers where id = %s", fourth) == 5
    assert scratch.rows(ERASE, [job_of(scratch, first)]) == [(0, 0)]
    assert verified(scratch) == []
    assert {second, third, fourth} <= {row[0] for row in scratch.rows("select id from loradex.answers")}


@pytest.mark.parametrize("held", [{"regex": SECRET}, {"json_schema": json.dumps({"const": SECRET})}])
def test_what_a_text_was_held_to_goes(scratch: World, held: dict[str, str]) -> None:
    (answer,) = scratch.answered(held)
    assert scratch.value("select held_to from loradex.answers") == held
    assert SECRET in everything(scratch)
    assert scratch.rows(ERASE, [job_of(scratch, answer)]) == [(1, 1)]
    assert SECRET not in everything(scratch)
    assert verified(scratch) == []


def test_what_is_left_can_be_asked_about(scratch: World) -> None:
    answer, other = scratch.answered({"prompt": SECRET, "top_p": 1.0}, {"top_p": 1.0})
    job = job_of(scratch, answer)
    scratch.rows(ERASE, [job])
    told = scratch.value("select loradex.explain(%s)", answer)
    assert (told["prompt"], told["text"], told["token_ids"], told["retrieval"]["query"]) == (None,) * 4
    assert told["erased"] is True
    assert told["mixture"]
    assert scratch.value("select loradex.explain(%s)", other)["erased"] is False
    ((state, code, message),) = scratch.rows(
        "select state, error_code, error_message from loradex.job_outcome(%s)", job
    )
    assert (state, code, "erased" in message) == ("failed", "erased", True)
    with pytest.raises(psycopg.Error, match="erased") as error, scratch.connection.transaction():
        scratch.rows("select loradex.reroute(%s)", answer)
    assert error.value.sqlstate == "LX004"
    assert {row[0] for row in scratch.rows("select answer_id from loradex.reroute_all()")} == {other}
    near = scratch.rows(
        "select answer_id from loradex.similar_answers(%s::vector)",
        scratch.value("select query::text from loradex.answers where id = %s", other),
    )
    assert near == [(other,)]
    for view in (
        "answer_provenance",
        "retrieval_coverage",
        "adapter_usage",
        "task_confusion",
        "nucleus_profile",
    ):
        assert scratch.rows(f"select * from loradex.{view}") is not None
    assert scratch.rows("select answer_id from loradex.simulate_retire('boats-lora')") is not None


def test_a_job_on_its_way_ends(scratch: World) -> None:
    waiting, running = scratch.enqueue({"prompt": SECRET}, {"prompt": SECRET, "priority": 1})
    attempt = scratch.claim(rows=1)[running]
    routing = scratch.route([running], [scratch.near("boats")])[running]
    assert scratch.rows(ERASE, [waiting, running]) == [(2, 0)]
    assert SECRET not in everything(scratch)
    assert scratch.rows("select distinct state, error_code from loradex.jobs") == [("failed", "erased")]
    with pytest.raises(psycopg.Error) as error, scratch.connection.transaction():
        scratch.record(running, attempt, routing)
    assert error.value.sqlstate == "LX006"
    assert scratch.value("select count(*) from loradex.erasures") == 0


def test_messages_of_jobs_that_ended_without_an_answer_go(scratch: World) -> None:
    """They name whoever cancelled, or quote what could not be answered."""
    asking = scratch.value("select session_user")
    cancelled, failed = scratch.enqueue({"metadata": {"who": SECRET}}, {"prompt": SECRET})
    scratch.rows("select loradex.cancel_job(%s)", cancelled)
    attempt = scratch.claim()[failed]
    scratch.rows(
        "select loradex.fail_job(%s, %s, 'prompt_too_long', %s)", failed, attempt, f"too long: {SECRET}"
    )
    ended = "select state, error_code, error_message, cancelled_by from loradex.jobs where id = any (%s) order by 1"
    assert scratch.rows(ended, [cancelled, failed]) == [
        ("cancelled", "job_cancelled", f"{asking} cancelled it while it was queued", asking),
        ("failed", "prompt_too_long", f"too long: {SECRET}", None),
    ]
    assert scratch.rows(ERASE, [cancelled, failed]) == [(2, 0)]
    assert scratch.rows(ended, [cancelled, failed]) == [
        ("cancelled", "job_cancelled", "erased", "erased"),
        ("failed", "prompt_too_long", "erased", None),
    ]
    left = everything(scratch)
    assert SECRET not in left
    assert f'"{asking}' not in left


LEFT = {
    *("id", "job_id", "owner_id", "owner", "attempt", "position", "scores", "prompt_tokens", "output_tokens"),
    *(
        "base_model",
        "base_model_revision",
        "generation",
        "timings",
        "versions",
        "worker",
        "created_at",
        "encoder",
    ),
    *(
        "encoder_revision",
        "k",
        "top_p",
        "temperature",
        "exclude_tasks",
        "exclude_adapters",
        "routing_milliseconds",
    ),
    *(
        "examples_hash",
        "example_ids",
        "example_refs",
        "example_tasks",
        "similarities",
        "tasks",
        "task_neighbours",
    ),
    *("task_similarities", "probabilities", "task_weights", "in_nucleus", "recipe_hash", "method", "merge"),
    *(
        "calibrated",
        "density",
        "merge_dtype",
        "update_norm",
        "sign_conflict",
        "merge_milliseconds",
        "adapter_ids",
    ),
    *(
        "adapters",
        "adapter_versions",
        "adapter_tasks",
        "adapter_hashes",
        "adapter_uris",
        "weights",
        "adapter_norms",
    ),
    *("commitments", "previous_hash", "chain_hash"),
}
"""What operations.md says that an erasure leaves of an answer; a column that is made later must be decided on."""


def test_what_an_erasure_leaves_was_decided_on(scratch: World) -> None:
    scratch.answered({"choices": ["yes", "no"]})
    scratch.rows(ERASE, [scratch.value("select job_id from loradex.answers")])
    assert set(
        scratch.value("select array(select jsonb_object_keys(to_jsonb(a))) from loradex.answers a")
    ) == (LEFT | set(GONE))
    free = scratch.rows(
        "select name from loradex.settings where kind = 'job' "
        "and type in ('text', 'texts', 'strings', 'pairs', 'messages') and options is null and names is null"
    )
    assert {name for (name,) in free} == {
        "prompt",
        "messages",
        "choices",
        "idempotency_key",
        "json_schema",
        "metadata",
        "regex",
        "stop",
        "traceparent",
    }


def test_who_and_when_are_chosen(scratch: World) -> None:
    old, new = scratch.answered({}, {})
    scratch.rows(
        "update loradex.jobs set created_at = '2020-01-01' where id = %s returning 1", job_of(scratch, old)
    )
    count = "select count(*) from loradex.jobs_to_erase(%s, %s, %s)"
    owner = scratch.value("select owner_id from loradex.jobs limit 1")
    assert scratch.value(count, None, owner, None) == 2
    assert scratch.value(count, None, owner, "2021-01-01") == 1
    assert scratch.value(count, [job_of(scratch, new)], None, "2021-01-01") == 0
    assert scratch.value(count, None, -1, None) == 0
    some = "select count(*) from loradex.jobs_to_erase(owner_id => %s, at_most => %s)"
    assert [scratch.value(some, owner, at_most) for at_most in (1, 2, 3, None)] == [1, 2, 2, 2]
    two = "select jobs from loradex.erase_jobs('why', 'who', owner_id => %s, at_most => 1)"
    assert [scratch.value(two, owner) for _ in range(3)] == [1, 1, 0]
    assert verified(scratch) == []


@pytest.mark.parametrize(
    "meanwhile",
    [
        "select * from loradex.erase_jobs('why', 'who', before => 'infinity', at_most => 2)",
        (
            "delete from loradex.jobs where id in (select job_id from loradex.jobs_to_erase("
            "before => 'infinity', at_most => 2)) returning id"
        ),
    ],
    ids=["erased", "archived"],
)
def test_jobs_that_another_took_first_do_not_end_an_erasure(
    world: World, database_url: str, meanwhile: str
) -> None:
    """Two erasures with the same next jobs: who comes second goes on with others."""
    world.enqueue(*({} for _ in range(5)))
    owner = world.value("select owner_id from loradex.jobs limit 1")
    mine = "select jobs from loradex.erase_jobs('why', 'who', owner_id => %s, at_most => 2)"
    with connect(database_url) as other, connect(database_url) as watcher, ThreadPoolExecutor(1) as aside:
        with other.transaction():
            assert len(other.execute(meanwhile.encode()).fetchall()) > 0
            erased = aside.submit(world.value, mine, owner)
            until(
                lambda: watcher.execute(
                    "select from pg_stat_activity where %s = any (pg_blocking_pids(pid))",
                    (other.info.backend_pid,),
                ).fetchall()
            )
        assert erased.result() == 2
    assert [world.value(mine, owner) for _ in range(2)] == [1, 0]
    assert world.value("select count(*) from loradex.jobs where erased_at is null") == 0


@pytest.mark.parametrize(
    "call",
    [
        "loradex.erase_jobs('', 'who', '{}')",
        "loradex.erase_jobs('why', ' ', '{}')",
        "loradex.erase_jobs('why', null, '{}')",
        "loradex.erase_jobs(repeat('x', 1001), 'who', '{}')",
        "loradex.erase_jobs('why', 'who')",
        "loradex.erase_jobs('why', 'who', '{}', at_most => 0)",
        "loradex.jobs_to_erase('{}', at_most => 0)",
    ],
)
def test_erasing_says_why_and_whom(scratch: World, call: str) -> None:
    with pytest.raises(psycopg.Error) as error:
        scratch.rows(f"select {call}")
    assert error.value.sqlstate == "LX001"


@pytest.mark.parametrize(
    "change",
    [
        "text = 'forged'",
        "text = null",
        "text = null, token_ids = null, prompt = null, query = null, salt = null, choice = null, choices = null",
        (
            "text = null, token_ids = null, prompt = null, query = null, salt = null, choice = null, choices = null, "
            "commitments = '{}'"
        ),
        (
            "text = null, token_ids = null, prompt = null, query = null, salt = null, choice = null, choices = null, "
            "commitments = loradex.answer_commitments(a), weights = '{0.5}'"
        ),
        "commitments = loradex.answer_commitments(a)",
    ],
)
def test_an_answer_can_be_erased_and_nothing_else(scratch: World, change: str) -> None:
    """Even by the owner of the table, and by the name of the partition too."""
    scratch.answered({"choices": ["yes", "no"]})
    for table in ("answers", f"answers_{scratch.month}"):
        with pytest.raises(psycopg.Error) as error, scratch.connection.transaction():
            scratch.rows(f"update loradex.{table} a set {change} returning 1")
        assert error.value.sqlstate in {"LX009", "23514"}, str(error.value)


def test_what_can_be_erased_is_declared_once(scratch: World) -> None:
    """The trigger lets go of what `answer_erasable` names; the check of the table and erase_jobs have the same."""
    erasable = "select array(select jsonb_object_keys(loradex.answer_erasable(a))) from loradex.answers a"
    (answer,) = scratch.answered({"choices": ["yes", "no"]})
    assert {*scratch.value(erasable), "salt"} == set(GONE)
    check = scratch.value(
        "select pg_get_constraintdef(oid) from pg_constraint "
        "where conrelid = 'loradex.answers'::regclass and conname = 'answers_erased_check'"
    )
    (emptied,) = re.findall(r"num_nonnulls\(([^)]*)\)", check)
    assert {name.strip('" ') for name in emptied.split(",")} == set(GONE)

    definition = scratch.value("select pg_get_functiondef('loradex.answer_erasable'::regproc)")
    wider = definition.replace("answer.query)", "answer.query, 'sign_conflict', answer.sign_conflict)")
    assert wider != definition
    forget = (
        f"update loradex.answers a set {' = null, '.join(GONE)} = null, sign_conflict = null, "
        "commitments = loradex.answer_commitments(a) returning id"
    )
    with pytest.raises(psycopg.Error) as refused, scratch.connection.transaction():
        scratch.rows(forget)
    assert refused.value.sqlstate == "LX009"
    scratch.connection.execute(wider.encode())
    assert scratch.rows(forget) == [(answer,)]


def test_notes_are_read_once_however_many_answers_are_erased(scratch: World) -> None:
    answers = scratch.answered(*({} for _ in range(12)))
    for answer in answers:
        scratch.rows(ERASE, [job_of(scratch, answer)])
    read = (
        "select seq_scan + coalesce(idx_scan, 0) from pg_stat_xact_user_tables "
        "where relid = 'loradex.erasures'::regclass"
    )
    before = scratch.value(read)
    assert scratch.rows("select reason from loradex.verify_audit_chain()") == []
    assert scratch.value(read) - before <= 4


FORGED = {
    "erased without a note": (
        (
            "update loradex.answers a set text = null, token_ids = null, prompt = null, query = null, salt = null, "
            "choice = null, choices = null, commitments = loradex.answer_commitments(a) where position = 2"
        ),
        "no note",
    ),
    "other commitments": (
        "update loradex.answers set commitments = jsonb_set(commitments, '{prompt}', '\"00\"') where position = 1",
        "does not fit",
    ),
    "no commitments": ("update loradex.answers set commitments = '[]' where position = 1", "does not fit"),
    "another reason": ("update loradex.erasures set reason = 'none'", "does not fit"),
    "another answer": ("update loradex.erasures set answers = '{}'", "no note"),
    "a note taken away": ("delete from loradex.erasures", "missing"),
}


@pytest.mark.parametrize("forged", FORGED)
def test_an_erasure_that_was_tampered_with_is_found(scratch: World, forged: str) -> None:
    first, _ = scratch.answered({}, {})
    scratch.rows(ERASE, [job_of(scratch, first)])
    scratch.answered({})
    scratch.connection.execute("set local session_replication_role = replica")
    statement, said = FORGED[forged]
    scratch.connection.execute(statement.encode())
    scratch.connection.execute("set local session_replication_role = origin")
    assert any(said in one for one in verified(scratch))


HOLDS = "it says that its texts were erased, and holds some: no hash covers them"


@pytest.mark.parametrize(
    "change",
    [
        "text = 'what they never said'",
        'messages = \'[{"role": "user", "content": "what they never asked"}]\'',
        "choices = '{}'",
        "query = array_fill(0.5::real, array[16])",
        "salt = '\\x00'",
        'commitments = commitments || \'{"remark": "what they never said"}\'',
    ],
)
def test_what_is_put_into_an_erased_answer_is_found(scratch: World, change: str) -> None:
    """Its hash fits, since commitments stand in for whatever the columns hold."""
    first, _ = scratch.answered({}, {})
    scratch.rows(ERASE, [job_of(scratch, first)])
    scratch.connection.execute("alter table loradex.answers drop constraint answers_erased_check")
    scratch.connection.execute("set local session_replication_role = replica")
    scratch.connection.execute(f"update loradex.answers set {change} where position = 1".encode())
    scratch.connection.execute("set local session_replication_role = origin")
    found = scratch.rows("select position, answer_id, reason from loradex.verify_audit_chain()")
    assert (1, first, HOLDS) in found
    # In SQL every commitment stands in the canonical text, so that one too many also makes another hash.
    assert len(found) == 1 + ("commitments" in change)
    assert verified(scratch) == [*(reason for *_, reason in found), HOLDS]
