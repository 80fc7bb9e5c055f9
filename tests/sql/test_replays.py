"""Answers that are to be computed once more: asked for by whoever asked them, taken once, and not kept."""

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from tests.fix_db import Connection, RoleUrl
from tests.sql.test_api_keys import ALICE, BOB, acting, make
from tests.world import World

from loradex.db.session import connect

ASK = "select loradex.ask_replay(%s)"
TAKE = "select told, error_code from loradex.take_replay(%s)"
LEAVE = "select loradex.leave_replay(%s)"
CLAIM = "select * from loradex.claim_replay(%s, 'smollm2-135m-instruct', 'float32')"
KEEP = "select loradex.keep_replay(%s, %s)"
RELEASE = "select loradex.release_replay(%s, %s)"
RECORD = "select loradex.record_replay(%s, %s, %s)"
TOLD = json.dumps({"same": True})


@pytest.fixture
def server(world: World, role_url: RoleUrl) -> Iterator[Connection]:
    """The one login of the API, with keys of two tenants."""
    make(world.connection, "alice", ALICE)
    make(world.connection, "bob", BOB)
    with connect(role_url("loradex_client", member=True)) as opened:
        yield opened


@pytest.fixture
def worker(world: World, role_url: RoleUrl) -> Iterator[Connection]:
    with connect(role_url("loradex_worker")) as opened:
        yield opened


@pytest.fixture
def answer(world: World, server: Connection) -> Any:
    """An answer of alice's."""
    (answered,) = world.answered({"prompt": "Is it late?"})
    world.connection.execute("alter table loradex.answers disable trigger user")
    world.connection.execute(
        "update loradex.answers set owner_id = (select id from loradex.owners where name = 'alice')"
    )
    return answered


def one(connection: Connection, statement: str, *values: Any) -> Any:
    return connection.execute(statement.encode(), values).fetchone()


def asked(server: Connection, key: str, answer: Any) -> Any:
    with acting(server, key):
        return one(server, ASK, answer)[0]


def refusal(server: Connection, answer: Any, key: str = ALICE) -> str:
    with pytest.raises(psycopg.Error) as refused:
        asked(server, key, answer)
    return f"{refused.value.sqlstate}: {refused.value.diag.message_primary}"


def waiting(world: World) -> int:
    return int(world.value("select count(*) from loradex.replays"))


def test_it_is_taken_once_by_whoever_asked(
    world: World, server: Connection, worker: Connection, answer: Any
) -> None:
    mine = asked(server, ALICE, answer)
    assert one(worker, "select * from loradex.claim_replay('w', 'another', 'float32')") is None
    assert one(worker, "select * from loradex.claim_replay('w', 'smollm2-135m-instruct', 'bfloat16')") is None
    assert one(worker, CLAIM, "w") == (mine, answer)
    assert one(worker, CLAIM, "v") is None
    with acting(server, ALICE):
        assert one(server, TAKE, mine) is None
    one(worker, RECORD, mine, "v", TOLD)
    with acting(server, ALICE):
        assert one(server, TAKE, mine) is None, "another worker has nothing to say about it"
    one(worker, RECORD, mine, "w", TOLD)
    with acting(server, BOB):
        assert one(server, TAKE, mine) is None
    assert one(server, TAKE, mine) is None
    with acting(server, ALICE):
        assert one(server, TAKE, mine) == ({"same": True}, None)
        assert one(server, TAKE, mine) is None
    one(worker, RECORD, mine, "w", TOLD)
    assert waiting(world) == 0


def test_an_answer_of_nobody_and_one_of_another_are_alike(
    server: Connection, world: World, answer: Any
) -> None:
    nobodys = "00000000-0000-0000-0000-000000000000"
    alike = {refusal(server, told, BOB).replace(str(told), "ID") for told in (answer, nobodys)}
    assert alike == {"LX004: no answer ID, or it is another user's; check the id"}
    assert waiting(world) == 0


def test_what_cannot_be_replayed_is_refused_at_once(world: World, server: Connection, answer: Any) -> None:
    announce = "select loradex.announce_worker(%s, 'smollm2-135m-instruct', 'e', 'cpu', %s, '{}', 1, %s)"
    one(world.connection, announce, "w", "bfloat16", "{}")
    one(world.connection, announce, "v", "float32", json.dumps({"vllm": "1"}))
    told = refusal(server, answer)
    assert told.startswith("LX012: it was answered by smollm2-135m-instruct in float32, and the workers")
    assert "compute in bfloat16; vLLM;" in told
    one(world.connection, announce, "u", "float32", "{}")
    asked(server, ALICE, answer)
    world.connection.execute("update loradex.base_models set revision = 'another'")
    assert "and the model of that name is another now" in refusal(server, answer)
    world.connection.execute(
        "select loradex.erase_jobs('wish', 'alice', array[(select job_id from loradex.answers)])"
    )
    assert refusal(server, answer).startswith("LX012: its question was erased")


@pytest.mark.parametrize(
    ("versions", "generation", "said"),
    [
        ({"vllm": "0.32.0"}, {"kind": "generate", "sampling_temperature": 1e-2}, "LX012: vLLM sampled it"),
        (
            {"vllm": "0.32.0", "vllm_arguments": '{"kv_cache_dtype": "fp8"}'},
            {},
            'LX012: vLLM computed it with {"kv_cache_dtype": "fp8"}',
        ),
        ({"vllm": "0.32.0"}, {"quantization": "fp8"}, "LX012: vLLM computed it with fp8"),
        ({"vllm": "0.32.0"}, {"kind": "generate", "sampling_temperature": 0}, None),
        ({"vllm": "0.32.0"}, {"kind": "choose", "sampling_temperature": 0.7}, None),
        (
            {"torch": "2"},
            {"kind": "generate", "sampling_temperature": 0.7, "quantization": "torchao-int8"},
            None,
        ),
    ],
)
def test_what_only_vllm_could_give_again_is_refused(
    world: World,
    server: Connection,
    answer: Any,
    versions: dict[str, str],
    generation: dict[str, Any],
    said: str | None,
) -> None:
    world.connection.execute(
        "update loradex.answers set versions = %s, generation = generation || %s",
        (json.dumps(versions), json.dumps(generation)),
    )
    if said is None:
        asked(server, ALICE, answer)
        assert waiting(world) == 1
    else:
        assert refusal(server, answer).startswith(said)
        assert waiting(world) == 0


def test_whoever_asked_may_leave_and_the_worker_hears_of_it(
    world: World, server: Connection, worker: Connection, answer: Any
) -> None:
    mine = asked(server, ALICE, answer)
    assert one(worker, CLAIM, "w")[0] == mine
    with acting(server, BOB):
        assert one(server, LEAVE, mine) == (False,)
    assert one(worker, KEEP, mine, "w") == (True,)
    with acting(server, ALICE):
        assert one(server, LEAVE, mine) == (True,)
        assert one(server, LEAVE, mine) == (False,)
    assert one(worker, KEEP, mine, "w") == (False,)
    assert waiting(world) == 0


def test_a_silent_worker_loses_it_to_another_and_what_was_lost_twice_is_refused(
    world: World, server: Connection, worker: Connection, answer: Any
) -> None:
    silent = "update loradex.replays set claimed_at = now() - interval '31 seconds'"
    mine = asked(server, ALICE, answer)
    assert one(worker, CLAIM, "w")[0] == mine
    world.connection.execute(silent)
    assert one(worker, KEEP, mine, "w") == (True,)
    assert one(worker, CLAIM, "v") is None, "it gave a sign of life"
    world.connection.execute(silent)
    assert one(worker, CLAIM, "v")[0] == mine
    assert one(worker, KEEP, mine, "w") == (False,)
    world.connection.execute(silent)
    assert one(worker, CLAIM, "u") is None
    with acting(server, ALICE):
        assert one(server, TAKE, mine) == (None, "too_many_attempts")


def test_a_worker_that_ends_gives_it_back_as_if_it_had_not_had_it(
    world: World, server: Connection, worker: Connection, answer: Any
) -> None:
    mine = asked(server, ALICE, answer)
    for leaving in ("w", "v", "u"):
        assert one(worker, CLAIM, leaving)[0] == mine
        one(worker, RELEASE, mine, "another")
        assert one(worker, KEEP, mine, leaving) == (True,), "another's is not given back"
        one(worker, RELEASE, mine, leaving)
        assert one(worker, KEEP, mine, leaving) == (False,)
    assert one(worker, CLAIM, "t")[0] == mine
    one(worker, RECORD, mine, "t", TOLD)
    one(worker, RELEASE, mine, "t")
    with acting(server, ALICE):
        assert one(server, TAKE, mine) == ({"same": True}, None), "what is over stays so"


def test_old_ones_go(world: World, server: Connection, worker: Connection, answer: Any) -> None:
    old = "update loradex.replays set created_at = now() - interval '11 minutes'"
    mine = asked(server, ALICE, answer)
    assert one(worker, CLAIM, "w")[0] == mine
    world.connection.execute(old)
    assert one(worker, KEEP, mine, "w") == (False,)
    asked(server, ALICE, answer)
    assert waiting(world) == 1
    world.connection.execute(old)
    assert one(worker, CLAIM, "w") is None
    assert waiting(world) == 0


def test_an_owner_may_have_so_many_and_no_more(world: World, server: Connection, answer: Any) -> None:
    for _ in range(4):
        asked(server, ALICE, answer)
    assert refusal(server, answer).startswith("LX008")
    with acting(server, ALICE):
        one(server, LEAVE, world.value("select id from loradex.replays limit 1"))
    asked(server, ALICE, answer)


def test_nobody_sees_what_waits_and_a_comparison_has_an_end(
    server: Connection, worker: Connection, answer: Any
) -> None:
    mine = asked(server, ALICE, answer)
    one(worker, CLAIM, "w")
    for connection in (server, worker):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("select told from loradex.replays")
    with pytest.raises(psycopg.Error) as refused:
        one(worker, RECORD, mine, "w", json.dumps({"x": "x" * 20_000}))
    assert refused.value.sqlstate == "LX001"
