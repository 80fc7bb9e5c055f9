"""Replay compares what an answer says with what its model says: tokens, text and scores; and which model it is."""

import hashlib
import json
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.fix_answering import Stack

from loradex.errors import InvalidArgumentError
from loradex.library.model_files import files_of
from loradex.service.cli import run
from loradex.service.client import Client
from loradex.worker.comparison import Replay
from loradex.worker.engine.engine import Engine
from loradex.worker.engine.form import Form
from loradex.worker.identity import WorkerIdentity, register_models, versions
from loradex.worker.replay import _replayed
from loradex.worker.settings import WorkerSettings

PROMPT = "The kettle whistles. Is the water hot?"


@pytest.fixture
def replayed(answering: Stack, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, Any]], Replay]:
    """Replays an answer from a document like that of `explain`."""
    for name, value in answering.environment().items():
        monkeypatch.setenv(name, value)
    loaded: dict[Form, Engine] = {}
    load = Engine.load
    monkeypatch.setattr(
        Engine,
        "load",
        lambda model, device, form, *rest, **known: loaded.setdefault(
            form, load(model, device, form, *rest, **known)
        ),
    )
    return lambda document: next(_replayed(WorkerSettings(), [document], {}))


def test_a_choice_that_was_judged_by_earlier_answers_is_replayed_with_them(
    client: Client, replayed: Callable[[dict[str, Any]], Replay]
) -> None:
    asked = {"choices": ["certainly", "hardly"], "method": "base", "choice_prior": "history"}
    before = client.enqueue_many([asked | {"prompt": f"Does {number} boil?"} for number in range(16)])
    answers = [job.wait() for job in before]
    assert answers[0].scores is not None
    document = client.explain(client.enqueue(PROMPT, **asked).wait().answer_id)
    prior = document["generation"]["prior"]
    assert prior["answers"] == 16
    assert prior["shares"][0] == pytest.approx(
        sum(1 / (1 + math.exp(one.scores[1] - one.scores[0])) for one in answers if one.scores) / 16
    )
    judged = [
        score - math.log(share) for score, share in zip(document["scores"], prior["shares"], strict=True)
    ]
    assert document["choice"] == asked["choices"][judged.index(max(judged))]
    assert replayed(document).same
    turned = {**prior, "shares": [0.999, 0.001] if document["choice"] == "certainly" else [0.001, 0.999]}
    document["generation"]["prior"] = turned
    assert not replayed(document).same, "whoever changes the shares is found out"


def test_scores_and_texts_are_part_of_sameness(
    client: Client, replayed: Callable[[dict[str, Any]], Replay]
) -> None:
    told = [
        client.explain(job.wait().answer_id)
        for job in client.enqueue_many(
            [
                {"prompt": PROMPT, "choices": ["yes", "no"]},
                {"prompt": PROMPT, "choices": ["yes", "it is"], "normalization": "none"},
                {"prompt": PROMPT, "max_new_tokens": 4},
            ]
        )
    ]
    chosen, summed, written = told
    for document in told:
        as_it_is = replayed(document)
        assert as_it_is.same
        assert as_it_is.files_same
    assert (replayed(summed).score_tolerance or 0) > (replayed(chosen).score_tolerance or 0)
    assert replayed(written).score_tolerance is None

    low, high = sorted(chosen["scores"])
    for scores in ([low - 10, high], [low, high + 0.01], [high], None):
        forged = replayed({**chosen, "scores": scores})
        assert (forged.same, forged.difference) == (False, None), scores
        assert forged.score_difference > forged.score_tolerance  # type: ignore[operator]
    for document in (chosen, written):
        forged = replayed({**document, "text": "forged"})
        assert (forged.same, forged.text_same) == (False, False)
    assert not replayed({**written, "scores": [0.5]}).same
    assert not replayed({**written, "versions": {}}).files_same


def test_what_a_job_wishes_of_its_text_is_wished_again(
    client: Client, replayed: Callable[[dict[str, Any]], Replay]
) -> None:
    plain = client.ask(PROMPT, max_new_tokens=12, method="base")
    stop = next(sign for sign in plain.text[1:] if sign.isascii() and sign.isalnum())
    wishes = {
        "repetition_penalty": 1.3,
        "presence_penalty": 0.5,
        "frequency_penalty": 0.5,
        "logit_bias": {70: 6.5, 71: -100},
        "min_tokens": 3,
        "sampling_top_k": 40,
        "sampling_min_p": 0.001,
        "sampling_temperature": 1.2,
        "seed": 3,
    }
    asked = ({"stop": [stop]}, {"stop": ["never written"], "logprobs": 2, **wishes})
    answers = [client.ask(PROMPT, max_new_tokens=12, method="base", **one) for one in asked]
    assert answers[0].text == plain.text[: plain.text.index(stop)].rstrip()
    assert answers[0].finish_reason == "stop"
    cut, wished = (client.explain(one.answer_id) for one in answers)
    assert {name: wished["generation"][name] for name in wishes if name != "logit_bias"} == {
        name: value for name, value in wishes.items() if name != "logit_bias"
    }
    assert wished["generation"]["logit_bias"] == {"70": 6.5, "71": -100}
    assert (cut["generation"]["stop"], wished["generation"]["stop"]) == ([stop], ["never written"])
    for document in (cut, wished):
        assert replayed(document).same, document
    assert answers[1].logprobs is not None
    assert [one["id"] for one in answers[1].logprobs] == wished["token_ids"]
    assert all(len(one["top"]) == 2 for one in answers[1].logprobs)

    # Each wish counts: without it the text is another, or the stored one is told apart.
    generation = {name: value for name, value in wished["generation"].items() if name != "repetition_penalty"}
    assert not replayed({**wished, "generation": generation}).same
    told = [dict(one) for one in wished["logprobs"]]
    told[1]["logprob"] += 0.01
    for logprobs in (told, told[1:], None):
        forged = replayed({**wished, "logprobs": logprobs})
        assert (forged.same, forged.difference) == (False, None)
        assert forged.logprob_difference > forged.logprob_tolerance  # type: ignore[operator]


def test_what_a_text_was_held_to_is_asked_again(
    client: Client, replayed: Callable[[dict[str, Any]], Replay]
) -> None:
    answer = client.ask(PROMPT, max_new_tokens=12, method="base", regex="[ab]{3,5}")
    assert re.fullmatch("[ab]{3,5}", answer.text)
    held = client.explain(answer.answer_id)
    assert replayed(held).same
    generation = {name: value for name, value in held["generation"].items() if name != "regex"}
    assert not replayed({**held, "generation": generation}).same


def test_the_files_of_the_model_are_hashed_once(
    client: Client, answering: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in answering.environment().items():
        monkeypatch.setenv(name, value)
    told = client.explain(client.enqueue(PROMPT, choices=["yes", "no"]).wait().answer_id)
    other = {**told, "merge": {**told["merge"], "dtype": "float16"}}
    hashed: list[str] = []
    digest = hashlib.file_digest

    def counted(file: Any, name: str) -> Any:
        hashed.append(file.name)
        return digest(file, name)

    monkeypatch.setattr(hashlib, "file_digest", counted)
    one, again, two = _replayed(WorkerSettings(), [told, told, other], {})
    assert (one.files_same, again.files_same, two.files_same) == (True, True, True)
    weights = answering.library.base / "model.safetensors"
    assert [Path(name) for name in hashed].count(weights) == 1


def test_a_model_is_asked_again_in_the_form_that_answered(
    client: Client, replayed: Callable[[dict[str, Any]], Replay]
) -> None:
    told = client.explain(client.enqueue(PROMPT, choices=["yes", "no"]).wait().answer_id)
    assert (told["generation"]["attention"], told["generation"]["quantization"]) == ("sdpa", None)
    assert told["generation"]["device_map"] is None
    eager, unknown = (
        replayed({**told, "generation": {**told["generation"], "attention": attention}})
        for attention in ("eager", "fast")
    )
    assert eager.same
    assert "with attention fast" in str(unknown.problem)


@pytest.mark.parametrize(
    ("versions", "generation", "problem"),
    [
        ({}, {"sampling_temperature": 0.7}, "vLLM sampled it"),
        (
            {"vllm_arguments": '{"kv_cache_dtype": "fp8"}'},
            {},
            '{"kv_cache_dtype": "fp8"}, which makes another model',
        ),
        ({}, {"quantization": "fp8"}, "weights quantised by fp8"),
        ({}, {"kind": "choose", "sampling_temperature": 0.7}, None),
        ({}, {"attention": "vllm"}, None),
    ],
)
def test_what_only_vllm_can_give_again_is_refused_and_the_next_is_replayed(
    client: Client,
    answering: Stack,
    monkeypatch: pytest.MonkeyPatch,
    versions: dict[str, str],
    generation: dict[str, Any],
    problem: str | None,
) -> None:
    for name, value in answering.environment().items():
        monkeypatch.setenv(name, value)
    choices = ["yes", "no"] if generation.get("kind") == "choose" else None
    told = client.explain(client.enqueue(PROMPT, choices=choices, max_new_tokens=4).wait().answer_id)
    theirs = {
        **told,
        "versions": {**told["versions"], "vllm": "0.32.0", **versions},
        "generation": {**told["generation"], **generation},
    }
    one, other = _replayed(WorkerSettings(), [theirs, told], {})
    assert other.same
    if problem is None:
        assert one.same
    else:
        assert problem in str(one.problem)


def test_a_changed_configuration_is_another_model(
    client: Client,
    answering: Stack,
    replayed: Callable[[dict[str, Any]], Replay],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    answer = client.enqueue(PROMPT, choices=["yes", "no"]).wait().answer_id
    assert client.explain(answer)["versions"]["base_model"] == files_of(answering.library.base).digest

    model = tmp_path / "model"
    shutil.copytree(answering.library.base, model)
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "rms_norm_eps": 0.5}))
    monkeypatch.setenv("LORADEX_BASE_MODEL_PATH", str(model))
    assert run(["replay", str(answer)]) == 1
    assert "not replayed" in capfd.readouterr().out

    encoder = files_of(answering.library.encoder)
    identity = WorkerIdentity(
        worker="w",
        base_model="smollm2-135m-instruct",
        base_model_revision=files_of(model).revision,
        encoder="all-MiniLM-L6-v2",
        encoder_revision=encoder.revision,
        dimensions=32,
        context_length=256,
        frame="{prompt}",
        device="cpu",
        dtype="float32",
        versions=versions(files_of(model)),
    )
    with pytest.raises(InvalidArgumentError, match="a file of it was changed"):
        register_models(answering.database_url, identity)
