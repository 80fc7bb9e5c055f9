"""What people asked can be erased: the values go, the chain holds, and a note says what was done."""

import psycopg
import pytest
from tests.world import World

from loradex.service.audit import Audit
from loradex.service.audit.snapshot import PINNED

ERASE = "select jobs, answers from loradex.erase_jobs('asked to be forgotten', 'privacy', %s)"
SECRET = "The secret is 4711"
GONE = ("prompt", "choices", "text", "choice", "token_ids", "query", "salt")


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
    """All text of the rows that could hold what was asked."""
    return "".join(
        str(world.value(f"select coalesce(jsonb_agg(to_jsonb(t)), '[]')::text from loradex.{table} t"))
        for table in ("jobs", "answers", "erasures", "routings")
    )


def test_texts_go_and_the_chain_holds(scratch: World) -> None:
    first, second, third = scratch.answered(
        {"prompt": SECRET, "choices": [SECRET, "no"], "idempotency_key": SECRET, "metadata": {"k": SECRET}},
        {},
        {"prompt": "other"},
    )
    head = scratch.value("select chain_hash from loradex.audit_head()")
    before = scratch.value("select loradex.answer_canonical(a) from loradex.answers a where id = %s", first)
    assert scratch.rows(ERASE, [job_of(scratch, first)]) == [(1, 1)]

    assert SECRET not in everything(scratch)
    assert scratch.rows(f"select {', '.join(GONE)} from loradex.answers where id = %s", first) == [
        (None,) * 7
    ]
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
    two = "select jobs from loradex.erase_jobs('why', 'who', owner_id => %s, at_most => 1)"
    assert [scratch.value(two, owner) for _ in range(3)] == [1, 1, 0]
    assert verified(scratch) == []


@pytest.mark.parametrize(
    "call",
    [
        "loradex.erase_jobs('', 'who', '{}')",
        "loradex.erase_jobs('why', ' ', '{}')",
        "loradex.erase_jobs('why', null, '{}')",
        "loradex.erase_jobs(repeat('x', 1001), 'who', '{}')",
        "loradex.erase_jobs('why', 'who')",
        "loradex.erase_jobs('why', 'who', '{}', at_most => 0)",
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
