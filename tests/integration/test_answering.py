"""Questions through the whole path: client, Postgres, Redis, a worker process, and back."""

import logging
import threading
import time
from collections.abc import Callable
from uuid import uuid4

import pytest
from tests.fix_answering import Stack
from tests.stocked import EXAMPLES, TASKS

from loradex.db.session import connect
from loradex.errors import (
    IdempotencyConflictError,
    InvalidArgumentError,
    JobFailedError,
    UnknownAnswerError,
    UnknownJobError,
    UnknownNameError,
    WaitTimeoutError,
)
from loradex.service.client import Client

PROMPT = "The soup boils over. Is the flame too high?"
NOBODY = "0198c5f2-6d3e-7c41-9a55-0c1d2e3f4a5b"


def test_a_generated_answer_says_where_it_came_from(client: Client) -> None:
    answer = client.enqueue(PROMPT, max_new_tokens=6).wait()

    assert answer.choice is None
    assert answer.scores is None
    assert answer.method == "affinity_calibrated_cat"
    assert {part["task"] for part in answer.mixture} <= set(TASKS)
    assert sum(part["weight"] for part in answer.mixture) == pytest.approx(1)
    assert len(answer.neighbours) == sum(len(texts) for texts in EXAMPLES.values())
    assert [one["rank"] for one in answer.neighbours] == list(range(1, len(answer.neighbours) + 1))
    assert sum(one["probability"] for one in answer.distribution) == pytest.approx(1)
    assert {"wait", "embed", "route", "compose", "total"} <= answer.timings.keys()


def test_a_choice_is_the_one_with_the_best_score(client: Client) -> None:
    answer = client.enqueue(PROMPT, choices=["yes", "no", "perhaps"]).wait()

    assert answer.choices == ("yes", "no", "perhaps")
    assert answer.scores is not None
    assert answer.choice == answer.choices[answer.scores.index(max(answer.scores))] == answer.text


@pytest.mark.parametrize("method", ["cat", "linear", "ties", "magnitude_prune", "top1", "uniform"])
def test_each_method_answers_with_adapters(client: Client, method: str) -> None:
    answer = client.enqueue(PROMPT, method=method, max_new_tokens=3).wait()

    assert answer.method == method
    assert answer.mixture
    if method == "top1":
        assert [part["weight"] for part in answer.mixture] == [1]
    if method == "uniform":
        assert [part["weight"] for part in answer.mixture] == [pytest.approx(1 / len(TASKS))] * len(TASKS)


def test_own_answers_with_the_named_adapter_alone(client: Client) -> None:
    answer = client.enqueue(PROMPT, method="own", adapter="tiny-garden", max_new_tokens=3).wait()

    assert [(part["adapter"], part["weight"]) for part in answer.mixture] == [("tiny-garden", 1)]


@pytest.mark.parametrize(
    "settings",
    [
        {"method": "base"},
        {"exclude_adapters": [f"tiny-{task}" for task in TASKS]},
        {"exclude_tasks": list(TASKS)},
    ],
)
def test_without_adapters_the_base_model_answers_and_says_so(
    client: Client, settings: dict[str, object]
) -> None:
    bare = client.enqueue(PROMPT, method="base", max_new_tokens=6).wait()
    answer = client.enqueue(PROMPT, max_new_tokens=6, **settings).wait()

    assert answer.mixture == ()
    assert answer.text == bare.text
    assert client.explain(answer.answer_id)["merge"]["update_norm"] == 0


def test_the_same_question_has_the_same_answer_alone_and_in_company(client: Client) -> None:
    alone = client.enqueue(PROMPT, max_new_tokens=8).wait()
    crowd = client.enqueue_many(
        [{"prompt": PROMPT, "max_new_tokens": 8}]
        + [{"prompt": f"{'long ' * number} question {number}?", "max_new_tokens": 8} for number in range(12)]
    )

    assert crowd[0].wait().text == alone.text
    for job in crowd:
        job.wait()


def test_sampling_with_a_seed_can_be_repeated(client: Client) -> None:
    def sampled(seed: int) -> str:
        return client.enqueue(PROMPT, sampling_temperature=1.5, seed=seed, max_new_tokens=12).wait().text

    assert sampled(3) == sampled(3)
    assert len({sampled(seed) for seed in range(4)}) > 1


def test_many_jobs_have_one_answer_each(answering: Stack, client: Client) -> None:
    jobs = client.enqueue_many(
        {"prompt": f"Question number {number}?", "max_new_tokens": 2} for number in range(80)
    )

    answers = [job.wait() for job in jobs]

    assert len({answer.answer_id for answer in answers}) == len(jobs)
    assert [answer.job_id for answer in answers] == [job.id for job in jobs]
    assert {job.status for job in jobs} == {"done"}
    with connect(answering.database_url) as connection:
        assert connection.execute("select * from loradex.verify_audit_chain()").fetchall() == []


def test_a_key_used_twice_gives_the_same_job(client: Client) -> None:
    key = str(uuid4())
    first = client.enqueue(PROMPT, idempotency_key=key, max_new_tokens=2)
    again = client.enqueue(PROMPT, idempotency_key=key, max_new_tokens=2)

    assert (first.created, again.created) == (True, False)
    assert again.id == first.id
    assert first.wait().answer_id == again.wait().answer_id
    with pytest.raises(IdempotencyConflictError):
        client.enqueue("Something else?", idempotency_key=key)


def test_a_prompt_that_is_too_long_fails_alone(client: Client) -> None:
    jobs = client.enqueue_many(
        [
            {"prompt": "short?", "max_new_tokens": 2},
            {"prompt": "word " * 200, "max_new_tokens": 2},
            {"prompt": "short too?", "max_new_tokens": 2},
        ]
    )

    with pytest.raises(JobFailedError, match="256") as caught:
        jobs[1].wait()
    assert caught.value.code == "prompt_too_long"
    assert jobs[1].status == "failed"
    assert jobs[0].wait().text is not None
    assert jobs[2].wait().text is not None


def test_a_job_is_found_by_its_id(client: Client) -> None:
    job = client.enqueue(PROMPT, max_new_tokens=2)

    assert client.job(str(job.id)).wait().job_id == job.id


@pytest.mark.parametrize("identity", ["", "nonsense", "0198c5f2", NOBODY])
def test_unknown_ids_are_typed_errors(client: Client, identity: str) -> None:
    with pytest.raises(UnknownJobError):
        client.job(identity)
    with pytest.raises(UnknownAnswerError):
        client.explain(identity)


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"prompt": ""}, InvalidArgumentError),
        ({"prompt": " \n\t "}, InvalidArgumentError),
        ({"prompt": "a\0b"}, InvalidArgumentError),
        ({"prompt": "\udcff"}, InvalidArgumentError),
        ({"prompt": "x" * 200_000}, InvalidArgumentError),
        ({"choices": ["yes"]}, InvalidArgumentError),
        ({"choices": []}, InvalidArgumentError),
        ({"choices": ["yes", "yes"]}, InvalidArgumentError),
        ({"choices": ["yes", " "]}, InvalidArgumentError),
        ({"k": 0}, InvalidArgumentError),
        ({"k": -1}, InvalidArgumentError),
        ({"k": 1.5}, InvalidArgumentError),
        ({"top_p": 0}, InvalidArgumentError),
        ({"top_p": 1.01}, InvalidArgumentError),
        ({"top_p": float("nan")}, InvalidArgumentError),
        ({"temperature": 0}, InvalidArgumentError),
        ({"temperature": -1}, InvalidArgumentError),
        ({"temperature": float("inf")}, InvalidArgumentError),
        ({"density": 0}, InvalidArgumentError),
        ({"density": 1.5}, InvalidArgumentError),
        ({"max_new_tokens": 0}, InvalidArgumentError),
        ({"sampling_temperature": -0.1}, InvalidArgumentError),
        ({"method": "own"}, InvalidArgumentError),
        ({"method": "magic"}, UnknownNameError),
        ({"method": "own", "adapter": "nobody"}, UnknownNameError),
        ({"exclude_tasks": ["nothing"]}, UnknownNameError),
        ({"exclude_adapters": ["nothing"]}, UnknownNameError),
        ({"encoder": "nothing"}, UnknownNameError),
        ({"base_model": "nothing"}, UnknownNameError),
        ({"expected_task": "nothing"}, UnknownNameError),
        ({"colour": "red"}, InvalidArgumentError),
        ({"idempotency_key": ""}, InvalidArgumentError),
        ({"idempotency_key": "x" * 1000}, InvalidArgumentError),
    ],
    ids=lambda value: str(value)[:40],
)
def test_bad_input_is_refused_before_anything_is_written(
    answering: Stack, client: Client, settings: dict[str, object], error: type[Exception]
) -> None:
    with connect(answering.database_url) as connection:
        before = connection.execute("select count(*) from loradex.jobs").fetchone()

        with pytest.raises(error) as caught:
            client.enqueue_many([{"prompt": "fine?"}, {"prompt": PROMPT, **settings}])

        assert "\n" not in str(caught.value)
        assert connection.execute("select count(*) from loradex.jobs").fetchone() == before


def test_waiting_has_an_end(answering: Stack, client: Client) -> None:
    with connect(answering.database_url) as other, other.transaction():
        other.execute("lock table loradex.answers in exclusive mode")
        job = client.enqueue(PROMPT, max_new_tokens=2)

        started = time.monotonic()
        with pytest.raises(WaitTimeoutError, match="goes on"):
            job.wait(timeout=0.4)
        assert time.monotonic() - started < 3

    assert job.wait().job_id == job.id


def test_several_threads_wait_over_one_client(client: Client) -> None:
    jobs = client.enqueue_many({"prompt": f"Thread {number}?", "max_new_tokens": 2} for number in range(8))
    found: dict[int, object] = {}

    def wait(number: int) -> Callable[[], None]:
        return lambda: found.__setitem__(number, jobs[number].wait().job_id)

    threads = [threading.Thread(target=wait(number)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == {number: jobs[number].id for number in range(8)}


def test_a_swapped_adapter_file_fails_its_jobs_and_nobody_elses(answering: Stack, client: Client) -> None:
    with connect(answering.database_url) as connection:
        connection.execute("select loradex.register_task('cellar', 'home', 'accuracy', '{}')")
        source = answering.library.adapters["garden"].directory
        swapped = answering.library.root / "adapters" / "cellar"
        swapped.mkdir()
        for file in source.iterdir():
            (swapped / file.name).write_bytes(file.read_bytes())
        connection.execute(
            """
            select loradex.register_adapter(
                name => 'tiny-cellar', task => 'cellar', base_model => 'smollm2-135m-instruct', sha256 => %s,
                uri => 'adapters/cellar', rank => 4, alpha => 8, target_modules => '{q_proj}', dtype =>
                'float32', parameters => 1024, update_norm => 1.0, card => '{}')
            """,
            ("0" * 64,),
        )
        try:
            broken, fine = client.enqueue_many(
                [
                    {"prompt": PROMPT, "method": "own", "adapter": "tiny-cellar", "max_new_tokens": 2},
                    {"prompt": PROMPT, "max_new_tokens": 2},
                ]
            )

            with pytest.raises(JobFailedError, match="content hash") as caught:
                broken.wait()
            assert caught.value.code == "adapter_changed"
            assert fine.wait().text is not None
        finally:
            connection.execute("select loradex.set_adapter_state('tiny-cellar', 1, 'retired')")


def test_a_dead_doorbell_is_said_and_holds_nobody_up(
    answering: Stack, caplog: pytest.LogCaptureFixture
) -> None:
    with Client(answering.database_url, "redis://127.0.0.1:1/0") as client, caplog.at_level(logging.WARNING):
        job = client.enqueue(PROMPT, max_new_tokens=2)

        assert "loradex up" in str(job.doorbell_error)
        assert job.wait().job_id == job.id


def test_a_wrong_redis_address_is_refused_at_once(answering: Stack) -> None:
    with pytest.raises(InvalidArgumentError, match="redis://"):
        Client(answering.database_url, "http://localhost")
