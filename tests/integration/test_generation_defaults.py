"""A base model's own way of writing: from its file to jobs of every door, their evidence and their replay."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.fix_answering import Stack
from tests.fix_api import Served
from tests.tiny_library import TinyLibrary

from loradex.db.session import connect
from loradex.library.model_store import ModelStore
from loradex.service.cli import run
from loradex.service.client import Client
from loradex.worker.replay import replay
from loradex.worker.settings import WorkerSettings

MODEL = "smollm2-135m-instruct"
PROMPT = "The kettle whistles."
CONFIG = {"do_sample": True, "temperature": 1.7, "top_k": 40, "repetition_penalty": 1.2, "max_new_tokens": 3}
DEFAULTS = {"sampling_temperature": 1.7, "sampling_top_k": 40, "repetition_penalty": 1.2}


@pytest.fixture
def sampling(answering: Stack, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The running stack's model samples by itself; it does not before and after. Commands find the stack."""
    for name, value in answering.environment().items():
        monkeypatch.setenv(name, value)

    def give(defaults: dict[str, float]) -> None:
        with connect(answering.database_url) as connection:
            ModelStore(connection).set_generation_defaults(MODEL, defaults)

    give(DEFAULTS)
    yield
    give({})


@pytest.mark.usefixtures("sampling")
def test_what_a_job_does_not_say_is_the_models_and_is_replayed(
    client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    own, greedy, said, plain = (
        client.enqueue(PROMPT, max_new_tokens=12, seed=5, **wish).wait(timeout=60)
        for wish in (
            {},
            {"sampling_temperature": 0},
            DEFAULTS,
            {"sampling_temperature": 0, "repetition_penalty": 1},
        )
    )
    told = client.explain(own.answer_id)["generation"]
    assert DEFAULTS.items() <= told.items()
    assert told["model_defaults"] == sorted(DEFAULTS)
    assert (own.text, own.output_tokens) == (said.text, said.output_tokens)
    assert own.text != greedy.text
    told = client.explain(greedy.answer_id)["generation"]
    assert (told["model_defaults"], "sampling_top_k" in told) == (["repetition_penalty"], False)
    assert "model_defaults" not in client.explain(plain.answer_id)["generation"]
    ids = [one.answer_id for one in (own, greedy, said, plain)]
    assert all(one.same for one in replay(WorkerSettings(), ids, 0, 0))
    assert run(["explain", str(own.answer_id)]) == 0
    page = " ".join(capsys.readouterr().out.split())
    assert "model's own repetition_penalty, sampling_temperature, sampling_top_k" in page


@pytest.mark.usefixtures("sampling")
def test_the_api_and_sql_write_as_the_client_does(served: Served, client: Client, answering: Stack) -> None:
    here = client.ask(PROMPT, max_new_tokens=8, seed=5)
    openai = served.client()

    def there(**asked: Any) -> Any:
        return openai.completions.create(model="loradex", prompt=PROMPT, max_tokens=8, seed=5, **asked)

    assert there().choices[0].text == here.text
    cold = client.ask(PROMPT, max_new_tokens=8, seed=5, sampling_temperature=0)
    assert there(temperature=0).choices[0].text == cold.text
    document = json.dumps([{"prompt": PROMPT, "max_new_tokens": 8, "seed": 5}])
    with connect(answering.database_url) as connection:
        row = connection.execute("select job_id from loradex.enqueue_jobs(%s::jsonb)", (document,)).fetchone()
    assert row is not None
    assert client.job(row[0]).wait(timeout=60).text == here.text


@pytest.mark.usefixtures("sampling")
def test_choices_are_ranked_as_ever(client: Client) -> None:
    told = client.explain(client.ask(PROMPT, choices=["yes", "no"]).answer_id)["generation"]
    assert told["sampling_temperature"] == 0
    assert not {"model_defaults", "repetition_penalty"} & told.keys()


def test_a_model_is_registered_with_what_its_file_states(
    database_url: str,
    tiny_library: TinyLibrary,
    tmp_path: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("LORADEX_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LORADEX_DATABASE_URL", database_url)
    base = tmp_path / "warm"
    base.mkdir()
    for path in tiny_library.base.iterdir():
        (base / path.name).symlink_to(path)
    (base / "generation_config.json").unlink()
    (base / "generation_config.json").write_text(json.dumps(CONFIG))

    def typed(*words: str) -> str:
        assert run(["model", *words]) == 0
        return " ".join(capsys.readouterr().out.split())

    shown = "repetition_penalty 1.2, sampling_temperature 1.7, sampling_top_k 40"
    assert f"by its generation_config.json: {shown}" in typed("register", str(base))
    assert shown in typed("show", "warm")
    assert json.loads(typed("show", "warm", "--json"))["generation_defaults"] == DEFAULTS
    assert "sampling_temperature 1.7" in typed("list")
    (listed,) = json.loads(typed("list", "--json"))
    assert listed["generation_defaults"] == DEFAULTS
    told = typed("register", str(base), "--no-generation-config", "--json")
    assert json.loads(told)["generation_defaults"] == {}
    assert json.loads(typed("show", "warm", "--json"))["generation_defaults"] == {}
    (base / "generation_config.json").write_text(json.dumps({**CONFIG, "top_k": -3}))
    assert run(["model", "register", str(base), "--name", "other"]) == 2
    assert "sampling_top_k is -3" in (told := " ".join(capsys.readouterr().err.split()))
    assert "--no-generation-config" in told
    assert [one["name"] for one in json.loads(typed("list", "--json"))] == ["warm"]
