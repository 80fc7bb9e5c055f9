"""What the functions of the catalogue leave behind, and the parts that other functions are made of."""

import hashlib
import json
import threading

import psycopg
import pytest
from tests.until import until
from tests.world import BASE_MODEL, ENCODER, World, sha256, text_of

REGISTER = """
    select adapter_id, created from loradex.register_adapter(
        name => %s, task => %s, base_model => 'smollm2-135m-instruct', sha256 => %s, uri => %s, rank => 8, alpha => 16,
        target_modules => '{q_proj}', dtype => 'float32', parameters => 1, update_norm => 1, root => %s)"""


def test_an_encoder_gets_its_index_and_its_search(scratch: World) -> None:
    scratch.rows("select loradex.register_encoder('Tiny/One', 'r1', 3)")
    assert scratch.rows("select revision, dimensions from loradex.encoders where name = 'Tiny/One'") == [
        ("r1", 3)
    ]
    index = scratch.value("select loradex.encoder_index('Tiny/One')")
    assert index == f"example_embeddings_hnsw_tiny_one_{hashlib.md5(b'Tiny/One').hexdigest()[:8]}"
    found = "select indexdef from pg_indexes where schemaname = 'loradex' and indexname = %s"
    ((definition,),) = scratch.rows(found, index)
    assert "USING hnsw" in definition
    assert "halfvec(3)" in definition
    assert scratch.rows("select * from loradex.nearest_examples('[1,2,3]', 5, 'Tiny/One')") == []
    scratch.rows("select loradex.drop_encoder_index('Tiny/One')")
    assert scratch.rows(found, index) == []
    for _ in range(2):
        scratch.rows("select loradex.build_encoder_index('Tiny/One')")
        assert scratch.rows(found, index) == [(definition,)]


def test_the_same_again_changes_nothing_but_a_card(scratch: World) -> None:
    for card in ({"prompt": "one"}, {"prompt": "another"}):
        scratch.rows("select loradex.register_task('fires', 'things', 'accuracy', %s)", json.dumps(card))
        assert scratch.rows("select family, metric, card from loradex.tasks where name = 'fires'") == [
            ("things", "accuracy", card)
        ]
        scratch.rows("select loradex.register_base_model('other', 'r1', 99, '{prompt} Answer:')")
        assert scratch.rows(
            "select revision, context_length, frame from loradex.base_models where name = 'other'"
        ) == [("r1", 99, "{prompt} Answer:")]


def test_an_alias_means_one_model_whatever_its_letters(scratch: World) -> None:
    scratch.rows("select loradex.register_base_model('other', 'r1', 99)")
    meant = "select base_model from loradex.base_model_aliases where alias = 'org/name'"
    for name in (BASE_MODEL, "other"):
        scratch.rows("select loradex.alias_base_model('Org/Name', %s)", name)
        assert scratch.rows(meant) == [(name,)]


def test_what_was_told_of_a_model_last_counts(scratch: World) -> None:
    scratch.rows("select loradex.register_base_model('other', 'r1', 99)")
    for modules in ({"q": [2, 3]}, {"q": [4, 3], "v": [1, 1]}):
        scratch.rows("select loradex.describe_base_model('other', 'r1', %s)", json.dumps(modules))
        assert scratch.rows("select modules from loradex.base_models where name = 'other'") == [(modules,)]


def test_what_an_adapter_is_stays_with_it(scratch: World) -> None:
    first, second = scratch.register("embers"), scratch.register("embers", "other content")
    assert scratch.rows(
        "select id, version, task, base_model, rank, alpha, target_modules, state from loradex.adapters "
        "where name = 'embers-lora' order by version"
    ) == [
        (first, 1, "embers", BASE_MODEL, 8, 16, ["q_proj", "v_proj"], "retired"),
        (second, 2, "embers", BASE_MODEL, 8, 16, ["q_proj", "v_proj"], "active"),
    ]


def test_the_same_content_at_another_place_is_found_there_from_now_on(scratch: World) -> None:
    content, uri = sha256("moved"), "select uri, name, state from loradex.adapters where id = %s"
    (made,) = scratch.rows(REGISTER, "moved", "embers", content, "one/moved", None)
    again = scratch.rows(REGISTER, "another", "embers", content, "s3://bucket/moved", None)
    assert (made[1], again) == (True, [(made[0], False)])
    assert scratch.rows(uri, made[0]) == [("s3://bucket/moved", "moved", "active")]


def test_nothing_moves_to_a_place_that_no_living_worker_reads(scratch: World) -> None:
    scratch.rows(
        "select loradex.announce_worker(worker => 'w1', base_model => %s, encoder => %s, device => 'cpu', "
        "dtype => 'float32', adapter_roots => '{/srv/one}', batch_rows => 8, versions => '{}', token => %s)",
        *(BASE_MODEL, ENCODER, "a" * 32),
    )
    content = sha256("stays")
    ((adapter, _),) = scratch.rows(REGISTER, "stays", "embers", content, "one/stays", "/srv/one")
    again = scratch.rows(REGISTER, "stays", "embers", content, "two/stays", "/srv/two")
    assert again == [(adapter, False)], "registering again does no harm"
    assert scratch.value("select uri from loradex.adapters where id = %s", adapter) == "one/stays"
    with (
        pytest.raises(psycopg.Error, match="no living worker reads adapters below"),
        scratch.connection.transaction(),
    ):
        scratch.rows(REGISTER, "other", "embers", sha256("other"), "two/other", "/srv/two")


def test_of_two_tasks_that_take_one_name_at_once_the_later_is_refused(
    world: World, database_url: str
) -> None:
    """Neither sees the other's row before it is committed; the second waits for the first at the index."""
    refused: list[psycopg.Error] = []

    def second() -> None:
        with psycopg.connect(database_url, autocommit=True) as other:
            try:
                other.execute(REGISTER, ("shared", "clouds", sha256("second"), "two", None))
            except psycopg.Error as error:
                refused.append(error)

    waits = "select count(*) from pg_locks where not granted"
    thread = threading.Thread(target=second)
    with world.connection.transaction():
        world.rows(REGISTER, "shared", "boats", sha256("first"), "one", None)
        thread.start()
        until(lambda: world.value(waits) > 0)
    thread.join()
    assert [error.sqlstate for error in refused] == ["LX001"]
    assert "choose another name" in str(refused[0])


def test_the_exact_search_is_the_definition(scratch: World) -> None:
    query = text_of(scratch.near("boats"))
    found = scratch.rows(
        """
        select rank, example_id, task, similarity from unnest(loradex.search_exactly(
            array[row(1, %s::vector, 7, 1, 1, '{clouds}', null, '{}', null)::loradex.route_request], %s))
        order by rank
        """,
        *(query, ENCODER),
    )
    wanted = scratch.rows(
        """
        select row_number() over (order by embedding <=> %s::vector, example_id), example_id, task,
               1 - (embedding <=> %s::vector)
        from loradex.example_embeddings where task <> 'clouds' order by 1 limit 7
        """,
        *(query, query),
    )
    assert found == wanted


def test_a_request_is_a_job_without_its_fate(scratch: World) -> None:
    scratch.enqueue({"k": 5}, {"k": 5}, {"k": 6})
    scratch.claim(rows=1)
    first, second, other = (
        row[0]
        for row in scratch.rows("select loradex.job_request(j) from loradex.jobs j order by queue_position")
    )
    assert first == second != other
    assert (first["prompt"], first["k"]) == ("Is it warm?", 5)
    assert not {"id", "state", "attempt", "worker", "created_at"} & first.keys()


def test_the_hash_is_over_the_canonical_text(scratch: World) -> None:
    scratch.answered({}, {})
    rows = scratch.rows(
        "select previous_hash, loradex.answer_canonical(a), loradex.answer_hash(a), chain_hash "
        "from loradex.answers a order by position"
    )
    for previous, canonical, recomputed, stored in rows:
        assert hashlib.sha256(previous + canonical.encode()).digest() == recomputed == stored
        told = json.loads(canonical)
        assert told["text"] != "yes", "a commitment stands for what can be erased"
        assert len(told["example_ids"]) == len(told["similarities"]) == 32
        assert sum(told["probabilities"]) == pytest.approx(1)
    assert rows[1][0] == rows[0][3]
