"""Anything at every door: an answer or a typed refusal on one line, and nothing half-written.

`make faults` runs this file with the hypothesis profile `hostile`: 10,000 cases and more, and says how many
knocked at each door.
"""

import contextlib
import io
import json
import string
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fix_adapters import CONFIG, safetensors_bytes, tensors
from tests.fix_answering import Stack
from tests.fix_db import Connection
from tests.fix_hypothesis import KNOCKS
from tests.until import until
from tests.wakeup_messages import body, message

from loradex.db.postgres_errors import typed_error
from loradex.db.session import connect, translate_errors
from loradex.errors import AdapterRefusedError, ExampleFileError, LoradexError
from loradex.library.adapter_files import inspect
from loradex.library.cards import TaskCard
from loradex.library.example_file import load_examples
from loradex.service.cli import run
from loradex.service.client import Client
from loradex.wakeup import QUEUE

Knock = Callable[[], None]

ALL = settings.default.max_examples
CASES = settings(max_examples=ALL if ALL > 100 else 30)
"""At each door: a few in `make test`, all of the profile `hostile` in `make faults`."""
SLOW_CASES = settings(max_examples=CASES.max_examples // 2)
"""What ends Celery's consumer costs half a second until it hears again, and a command reads its help first."""

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
)
BELL_SECONDS = 30.0
FIELDS = (
    *("prompt", "choices", "method", "adapter", "k", "top_p", "temperature", "density", "max_new_tokens"),
    *("exclude_tasks", "exclude_adapters", "normalization", "sampling_temperature", "sampling_top_p", "seed"),
    *("expected_task", "idempotency_key", "priority", "base_model", "encoder", "kind", "owner", "state"),
)
plausible = {
    "prompt": st.text(max_size=60),
    "choices": st.lists(st.text(max_size=6), max_size=4),
    "method": st.sampled_from(["cat", "ties", "base", "own", "magic"]),
    "k": st.integers(-2, 1100),
    "top_p": st.floats(-0.5, 1.5),
    "temperature": st.floats(-1, 1),
    "max_new_tokens": st.integers(-1, 3000),
    "idempotency_key": st.sampled_from(["a", "b", ""]),
    "priority": st.integers(-40_000, 40_000),
}
jobs = st.dictionaries(st.sampled_from(FIELDS), anything, max_size=4) | st.fixed_dictionaries(
    {"prompt": plausible["prompt"]},
    optional={name: values for name, values in plausible.items() if name != "prompt"},
)


def counted(connection: Connection, what: str) -> int:
    row = connection.execute(f"select count(*) from loradex.{what}").fetchone()
    assert row is not None
    return int(row[0])


@pytest.fixture(scope="module")
def quiet(stocked_database: str) -> str:
    """A stocked database without a worker."""
    return stocked_database


@pytest.fixture(scope="module")
def quiet_client(quiet: str) -> Any:
    with Client(quiet, "redis://127.0.0.1:1/0") as client:
        yield client


@pytest.fixture(scope="module")
def quiet_connection(quiet: str) -> Any:
    """Whatever came in by it or beside it, no row is left half written."""
    with connect(quiet) as connection:
        yield connection
        assert connection.execute("select * from loradex.verify_audit_chain()").fetchall() == []


@pytest.fixture(scope="module")
def hostile_redis(answering: Stack) -> Any:
    """The Redis of the running stack; whatever is said there, its worker still answers afterwards."""
    with redis.Redis.from_url(answering.redis_url) as opened, answering.client() as client:
        yield opened
        assert client.enqueue("Still there?", max_new_tokens=1).wait().text is not None


@pytest.fixture
def knock(request: pytest.FixtureRequest) -> Knock:
    """Counts a case at the door that the test is about."""
    door = str(request.function.__name__).removeprefix("test_")
    counts = request.config.stash.setdefault(KNOCKS, Counter())

    def count() -> None:
        counts[door] += 1

    return count


@CASES
@given(asked=st.lists(jobs, min_size=1, max_size=3))
def test_the_client(
    knock: Knock, quiet_client: Client, quiet_connection: Connection, asked: list[dict[str, Any]]
) -> None:
    knock()
    before, refusal, accepted = counted(quiet_connection, "jobs"), None, 0
    try:
        accepted = sum(job.created for job in quiet_client.enqueue_many(asked))
    except LoradexError as error:
        refusal = str(error)

    assert refusal is None or len(refusal.splitlines()) == 1
    assert counted(quiet_connection, "jobs") == before + accepted


@CASES
@given(asked=anything)
def test_the_queue_s_own_door(knock: Knock, quiet_connection: Connection, asked: Any) -> None:
    knock()
    before, refusal, accepted = counted(quiet_connection, "jobs"), None, 0
    try:
        with translate_errors():
            document = json.dumps(asked)
            rows = quiet_connection.execute(
                "select created from loradex.enqueue_jobs(%s::jsonb)", (document,)
            )
            accepted = sum(bool(row[0]) for row in rows)
    except LoradexError as error:
        refusal = str(error)
    except UnicodeEncodeError:
        refusal = "half a surrogate pair never leaves Python"

    assert refusal is None or len(refusal.splitlines()) == 1
    assert counted(quiet_connection, "jobs") == before + accepted


vectors = st.lists(st.floats(width=32), max_size=40).map(json.dumps)
arguments = {
    "vector": vectors | st.just("[" + ",".join(["0.1"] * 32) + "]"),
    "vector[]": st.lists(vectors, max_size=3),
    "int4": st.integers(-(2**31), 2**31 - 1) | st.integers(-3, 40),
    "int8": st.integers(-(2**63), 2**63 - 1),
    "float8": st.floats() | st.floats(0, 1),
    "text": st.text(max_size=12)
    | st.sampled_from(["smollm2-135m-instruct", "all-MiniLM-L6-v2", "weather", "active"]),
    "_text": st.lists(st.text(max_size=6), max_size=3),
    "uuid": st.uuids().map(str),
    "_uuid": st.lists(st.uuids().map(str), max_size=3),
    "jsonb": anything.map(json.dumps),
    "interval": st.sampled_from(["-1 second", "0", "1 second", "1000000 years"]),
    "timestamptz": st.sampled_from(["-infinity", "infinity", "2020-01-01", "now"]),
    "_vector": st.lists(vectors, max_size=3),
    "bool": st.booleans(),
    "bpchar": st.text(max_size=70),
    "call_document": anything.map(json.dumps),
}
SPELT = {"_vector": "vector[]", "call_document": "loradex.call_document"}
OPEN_DOORS = """
    select p.oid::regprocedure::text, array(
        select t.typname::text from unnest(p.proargtypes) with ordinality a (oid, place)
        join pg_type t on t.oid = a.oid order by a.place)
    from pg_proc p
    where p.pronamespace = 'loradex'::regnamespace and p.prokind = 'f'
      and exists (select from aclexplode(p.proacl) x join pg_roles r on r.oid = x.grantee
                  where r.rolname like 'loradex%' and x.privilege_type = 'EXECUTE'
                    and r.rolname <> current_user)
    order by 1"""


@CASES
@given(data=st.data())
def test_the_sql_functions(knock: Knock, quiet_connection: Connection, data: st.DataObject) -> None:
    knock()
    doors = [door for door in quiet_connection.execute(OPEN_DOORS) if set(door[1]) <= arguments.keys()]
    assert len(doors) > 15
    name, types = data.draw(st.sampled_from(doors), label="function")
    values = [data.draw(st.none() | arguments[kind], label=kind) for kind in types]
    holes = ", ".join(f"%s::{SPELT.get(kind, kind)}" for kind in types)
    call = f"select * from {name.split('(')[0]}({holes})"

    refused = None
    with quiet_connection.transaction(force_rollback=True):
        try:
            with quiet_connection.transaction():
                quiet_connection.execute(call, values).fetchall()
        except psycopg.Error as error:
            refused = error
        except UnicodeEncodeError:
            refused = None  # half a surrogate pair never leaves Python
    if refused is not None:
        typed = typed_error(refused)
        assert typed is not None, f"{refused.sqlstate}: {refused}"
        assert len(str(typed).splitlines()) == 1
    assert quiet_connection.execute("select 1").fetchone() == (1,)


words = st.text(string.printable, max_size=12) | st.sampled_from(
    [
        "--json",
        "--k",
        "--top-p",
        "--method",
        "--choices",
        "--timeout",
        "0",
        "-1",
        "nan",
        "yes,no",
        "--help",
        "cat",
    ]
)
COMMANDS = (["ask"], ["explain"], ["replay"], ["audit"], ["audit", "head"], ["audit", "verify"])


@SLOW_CASES
@given(command=st.sampled_from(COMMANDS), rest=st.lists(words, max_size=5))
def test_the_command_line(knock: Knock, quiet: str, command: list[str], rest: list[str]) -> None:
    knock()
    said, complained = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("LORADEX_DATABASE_URL", quiet)
        environment.setenv("LORADEX_REDIS_URL", "redis://127.0.0.1:1/0")
        asked = [*command, *rest, *(["--timeout", "0"] if command == ["ask"] else [])]
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(complained):
            code = run(asked)

    assert code in {0, 1, 2}
    assert "Traceback" not in complained.getvalue()
    if code:
        lines = [
            line for line in complained.getvalue().splitlines() if "hear of it from Postgres" not in line
        ]
        assert lines
        assert len(lines) == 1 or lines[0].startswith("Usage:")


MEALS = TaskCard.model_validate(
    {"name": "meals", "family": "sentiment", "metric": "exact_match", "prompt": "{meal}"}
)


@CASES
@given(
    lines=st.lists(
        st.binary(max_size=80) | anything.map(lambda value: json.dumps(value).encode()), max_size=4
    )
)
def test_a_file_of_examples(
    knock: Knock, tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]
) -> None:
    knock()
    path = tmp_path_factory.getbasetemp() / "hostile.jsonl"
    path.write_bytes(b"\n".join(lines))

    with contextlib.suppress(ExampleFileError):
        assert isinstance(load_examples(path, {"meals": MEALS}), list)


configs = st.dictionaries(st.sampled_from(sorted(CONFIG)), anything, min_size=1, max_size=3).map(
    lambda changes: json.dumps({**CONFIG, **changes}).encode()
)
weights = st.binary(max_size=300) | st.builds(
    lambda whole, cut, noise: whole[:cut] + noise,
    st.just(safetensors_bytes(tensors())),
    st.integers(0, 3000),
    st.binary(max_size=40),
)


@CASES
@given(config=configs | st.binary(max_size=200), weights=weights)
def test_an_adapter_directory(
    knock: Knock, tmp_path_factory: pytest.TempPathFactory, config: bytes, weights: bytes
) -> None:
    knock()
    directory = Path(tmp_path_factory.getbasetemp()) / "hostile-adapter"
    directory.mkdir(exist_ok=True)
    (directory / "adapter_config.json").write_bytes(config)
    (directory / "adapter_model.safetensors").write_bytes(weights)

    with contextlib.suppress(AdapterRefusedError):
        assert inspect(directory, "tiny-llama").sha256


ids = st.uuids().map(str) | st.text(max_size=40)
giants = st.integers(0, 2_000_000).map("x".__mul__)
calls = st.tuples(
    st.lists(ids | anything | giants, max_size=3), st.dictionaries(st.text(max_size=6), anything, max_size=2)
).map(lambda call: body([*call, {}]))
messages = st.one_of(
    st.binary(max_size=200),
    anything.map(lambda value: json.dumps(value).encode()),
    calls.map(lambda whole: json.dumps(message(body=whole)).encode()),
    st.dictionaries(st.sampled_from(sorted(message())), anything, max_size=2).map(
        lambda changes: json.dumps(message(**changes)).encode()
    ),
    st.dictionaries(st.sampled_from(sorted(message()["headers"])), anything, max_size=3).map(
        lambda changes: json.dumps(message(headers=message()["headers"] | changes)).encode()
    ),
    st.dictionaries(st.sampled_from(sorted(message()["properties"])), anything, max_size=3).map(
        lambda changes: json.dumps(message(properties=message()["properties"] | changes)).encode()
    ),
)


@SLOW_CASES
@given(said=messages)
def test_the_bell(knock: Knock, answering: Stack, hostile_redis: redis.Redis, said: bytes) -> None:
    knock()
    hostile_redis.lpush(QUEUE, said)
    until(lambda: hostile_redis.llen(QUEUE) == 0, BELL_SECONDS)

    assert answering.workers[0].alive


@pytest.mark.parametrize(
    "schema",
    [
        r'{"type": "object", "properties": {"x": {"type": "string", "format": "a\u0000b"}}}',
        r'{"type": "string", "pattern": "(\u0000"}',
        r'{"type": "a\u0000b"}',
        r'{"type": "string", "format": "a\ud800b"}',
    ],
)
def test_a_refusal_that_quotes_what_postgres_cannot_hold_ends_the_job(answering: Stack, schema: str) -> None:
    """At its first attempt, instead of being lost again and again by every worker that tries."""
    job = {"prompt": "Write.", "json_schema": schema, "max_new_tokens": 4}
    with connect(answering.database_url) as connection:
        rows = connection.execute("select job_id from loradex.enqueue_jobs(%s::jsonb)", (json.dumps([job]),))
        ((asked,),) = rows.fetchall()
        ended: list[Any] = []

        def is_over() -> bool:
            ended[:] = connection.execute(
                "select error_code, attempt from loradex.jobs where id = %s and state = 'failed'", (asked,)
            ).fetchall()
            return bool(ended)

        until(is_over)
    assert ended == [("constraint_refused", 1)]
