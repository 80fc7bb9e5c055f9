"""Every bad argument of a SQL function has its SQLSTATE and a message that says what to do."""

import psycopg
import pytest
from tests.world import DIMENSIONS, World, text_of

from loradex.db.session import translate_errors
from loradex.errors import DimensionError

MIXTURE = ("base_model", "k", "top_p", "temperature", "encoder", "exclude_tasks", "exclude_adapters")
ROUTERS = {
    "nearest_examples": ("query", "k", "encoder", "exclude_tasks"),
    "task_distribution": ("query", "k", "top_p", "temperature", "encoder", "exclude_tasks"),
    "adapter_mixture": ("query", *MIXTURE),
    "adapter_mixtures": ("queries", *MIXTURE),
}
BAD = {
    "query": [
        ("null::vector", "LX005", "embed the query"),
        ("'[1,2]'", "LX005", "dimensions"),
        (f"array_fill(0, array[{DIMENSIONS}])::vector", "LX005", "length 1"),
        (f"array_fill(3e38::real, array[{DIMENSIONS}])::vector", "LX005", "length 1"),
    ],
    "queries": [
        ("null::vector[]", "LX001", "array of vectors"),
        ("array[null]::vector[]", "LX005", "embed the query"),
        ("array['[1,2]']::vector[]", "LX005", "dimensions"),
    ],
    "k": [
        ("0", "LX001", "from 1 to 1000"),
        ("1001", "LX001", "from 1 to 1000"),
        ("null", "LX001", "from 1 to 1000"),
    ],
    "top_p": [(value, "LX001", "at most 1") for value in ("0", "-0.1", "1.0001", "'nan'", "'inf'", "null")],
    "temperature": [(value, "LX001", "above 0") for value in ("0", "-1", "'nan'", "'inf'", "null")],
    "encoder": [("'nobody'", "LX002", "register_encoder"), ("null", "LX002", "register_encoder")],
    "exclude_tasks": [("'{nowhere}'", "LX002", "loradex.tasks"), ("null", "LX001", "exclude nothing")],
    "base_model": [("'gpt'", "LX002", "known are"), ("null", "LX002", "base_models")],
    "exclude_adapters": [("'{nothing}'", "LX002", "loradex.adapters"), ("null", "LX001", "exclude nothing")],
}
CASES = [
    (function, parameter, *case)
    for function, parameters in ROUTERS.items()
    for parameter in parameters
    for case in BAD[parameter]
]


@pytest.mark.parametrize(("function", "parameter", "value", "sqlstate", "advice"), CASES)
def test_a_router_refuses(
    scratch: World, function: str, parameter: str, value: str, sqlstate: str, advice: str
) -> None:
    given = {"query": f"'{text_of(scratch.near('boats'))}'"}
    if function == "adapter_mixtures":
        given = {"queries": f"array[{given['query']}]::vector[]"}
    if "base_model" in ROUTERS[function]:
        given["base_model"] = "'smollm2-135m-instruct'"
    given[parameter] = value
    arguments = ", ".join(f"{name} => {text}" for name, text in given.items())
    with pytest.raises(psycopg.Error, match=advice) as refused:
        scratch.rows(f"select * from loradex.{function}({arguments})")
    assert refused.value.sqlstate == sqlstate


@pytest.mark.parametrize("vector", ["[nan,1]", "[inf,1]", "[1e39,1]", "[a]", "{}"])
def test_pgvector_itself_takes_no_such_vector(scratch: World, vector: str) -> None:
    """NaN and infinity never reach a function; db.session names them all the same error."""
    with pytest.raises(DimensionError), translate_errors():
        scratch.rows("select * from loradex.nearest_examples(%s::vector)", vector)


@pytest.mark.parametrize(
    ("statement", "sqlstate"),
    [
        ("select loradex.register_encoder('', 'r', 3)", "LX001"),
        ("select loradex.register_encoder('a b', 'r', 3)", "LX001"),
        ("select loradex.register_encoder('e', 'r', 0)", "LX001"),
        ("select loradex.register_encoder('e', 'r', 4001)", "LX001"),
        ("select loradex.register_encoder('all-MiniLM-L6-v2', 'r2', 16)", "LX001"),
        ("select loradex.register_base_model('b', 'r', 0)", "LX001"),
        ("select loradex.register_base_model('b', 'r', 8, 'no place for it')", "LX001"),
        ("select loradex.register_base_model('smollm2-135m-instruct', 'other', 512)", "LX001"),
        ("select loradex.alias_base_model('', 'smollm2-135m-instruct')", "LX001"),
        ("select loradex.alias_base_model('SmolLM2-135M-Instruct', 'smollm2-135m-instruct')", "LX001"),
        ("select loradex.alias_base_model('b', 'nobody')", "LX002"),
        ("select loradex.describe_base_model('smollm2-135m-instruct', 'other', '{\"q\": [1, 2]}')", "LX001"),
        ("select loradex.describe_base_model('nobody', 'b1', '{\"q\": [1, 2]}')", "LX002"),
        *(
            (f"select loradex.describe_base_model('smollm2-135m-instruct', 'b1', '{modules}')", "LX001")
            for modules in ("[]", "{}", '{"q": 3}', '{"q": [1, 2, 3]}', '{"q": [0, 3]}', '{"q": ["a", 3]}')
        ),
        ("select loradex.register_task('Boats!', 'f', 'accuracy')", "LX001"),
        ("select loradex.register_task('t', 'f', 'likes')", "LX001"),
        ("select loradex.register_task('t', 'f', 'accuracy', '[]')", "LX001"),
        ("select loradex.register_task('boats', 'other', 'accuracy')", "LX001"),
        ("select loradex.set_adapter_state('boats-lora', 1, 'asleep')", "LX001"),
        ("select loradex.set_adapter_state('nobody', null, 'active')", "LX002"),
        ("select loradex.set_adapter_state('boats-lora', 9, 'active')", "LX002"),
        ("select loradex.build_encoder_index('nobody')", "LX002"),
        ("select loradex.drop_encoder_index('nobody')", "LX002"),
        ("select loradex.group_duplicates('nobody')", "LX002"),
        ("select loradex.explain(gen_random_uuid())", "LX004"),
        ("select loradex.explain(null)", "LX004"),
        ("select loradex.reroute(gen_random_uuid())", "LX004"),
        ("select loradex.verify_audit_chain(gen_random_uuid())", "LX004"),
        ("select loradex.verify_audit_chain(null, gen_random_uuid())", "LX004"),
        ("select loradex.route_jobs(array[gen_random_uuid()], array['[1]'::vector])", "LX003"),
        ("select loradex.route_jobs(array[gen_random_uuid()], '{}')", "LX001"),
        ("select loradex.route_jobs(null, null)", "LX001"),
        ("select loradex.claim_jobs('', 1, '1s', 1)", "LX001"),
        ("select loradex.claim_jobs('w', 0, '1s', 1)", "LX001"),
        ("select loradex.claim_jobs('w', 1, '0s', 1)", "LX001"),
        ("select loradex.claim_jobs('w', 1, '1s', 0)", "LX001"),
        ("select loradex.fail_job(gen_random_uuid(), 1, 'code', 'why')", "LX003"),
        ("select loradex.fail_job(gen_random_uuid(), 1, '', 'why')", "LX001"),
        ("select loradex.extend_lease('w', '{}', '0s')", "LX001"),
    ],
)
def test_a_function_refuses(scratch: World, statement: str, sqlstate: str) -> None:
    with pytest.raises(psycopg.Error) as refused:
        scratch.rows(statement)
    assert refused.value.sqlstate == sqlstate, str(refused.value)


@pytest.mark.parametrize(
    ("change", "sqlstate"),
    [
        ("name => 'a b'", "LX001"),
        ("sha256 => 'xyz'", "LX001"),
        ("uri => ''", "LX001"),
        ("rank => 0", "LX001"),
        ("alpha => 'nan'", "LX001"),
        ("alpha => 0", "LX001"),
        ("target_modules => '{}'", "LX001"),
        ("dtype => null", "LX001"),
        ("parameters => 0", "LX001"),
        ("update_norm => 'inf'", "LX001"),
        ("card => '3'", "LX001"),
        ("version => 0", "LX001"),
        ("task => 'nowhere'", "LX002"),
        ("base_model => 'gpt'", "LX002"),
        ("name => 'boats-lora', task => 'clouds'", "LX001"),
        ("name => 'boats-lora', version => 1", "LX001"),
    ],
)
def test_registration_refuses(scratch: World, change: str, sqlstate: str) -> None:
    given = {
        "name": "'new-lora'",
        "task": "'boats'",
        "base_model": "'smollm2-135m-instruct'",
        "sha256": f"'{'e' * 64}'",
        "uri": "'library/new'",
        "rank": "8",
        "alpha": "16",
        "target_modules": "'{q_proj}'",
        "dtype": "'float32'",
        "parameters": "10",
        "update_norm": "1",
    }
    for part in change.split(", "):
        name, _, value = part.partition(" => ")
        given[name] = value
    arguments = ", ".join(f"{name} => {value}" for name, value in given.items())
    with pytest.raises(psycopg.Error) as refused:
        scratch.rows(f"select loradex.register_adapter({arguments})")
    assert refused.value.sqlstate == sqlstate, str(refused.value)
