"""`loradex model` and `loradex encoder`: one's own, registered by an administrator, without a worker."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.fix_answering import Stack
from tests.tiny_library import DIMENSIONS, TinyLibrary

from loradex.confined import confined
from loradex.errors import ModelRefusedError
from loradex.library.base_model_files import read_base_model
from loradex.library.chat_template import chat_frame
from loradex.service import cli
from loradex.service.client import Client

Loradex = Callable[..., tuple[int, str, str]]
CHAT = (
    "{{ bos_token }}{% for message in messages %}<|{{ message.role }}|>\n{{ message.content | trim }}<|end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


@pytest.fixture
def administrator(
    database_url: str,
    role_url: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Loradex:
    """Run a command as an administrator who is not the owner; gives exit code, standard output and error."""
    monkeypatch.setenv("LORADEX_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LORADEX_DATABASE_URL", role_url("loradex_admin"))

    def run(*arguments: object) -> tuple[int, str, str]:
        code = cli.run([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return run


def listed(loradex: Loradex, what: str) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in json.loads(loradex(what, "list", "--json")[1])}


def test_a_base_model_from_registration_to_retirement(
    administrator: Loradex, tiny_library: TinyLibrary, tmp_path: Path
) -> None:
    base = tmp_path / "my-llama"
    shutil.copytree(tiny_library.base, base)
    code, out, err = administrator("model", "register", base)
    assert (code, err) == (0, "")
    assert out.startswith("my-llama is registered: 256 tokens, revision ")
    assert f"LORADEX_BASE_MODEL=my-llama LORADEX_BASE_MODEL_PATH={base}" in out
    register = ("model", "register", base, "--name", "other", "--template", r"Q: {prompt}\nA:")
    assert administrator(*register)[0] == administrator(*register)[0] == 0
    shown = json.loads(administrator("model", "show", "other", "--json")[1])
    assert (shown["frame"], shown["context_length"], shown["workers"]) == ("Q: {prompt}\nA:", 256, 0)
    code, _, err = administrator("model", "register", base, "--name", "other")
    assert code == 2
    assert "give another revision another name" in err

    assert (shown["aliases"], shown["modules"]) == ([], 16), "seven a layer, the words and the head"
    assert administrator("model", "alias", "other", "Org/Other")[:2] == (0, "Org/Other means other\n")
    assert json.loads(administrator("model", "show", "other", "--json")[1])["aliases"] == ["org/other"]

    assert administrator("settings", "set", "base_model", "my-llama")[0] == 0
    assert listed(administrator, "model")["my-llama"]["is_default"]
    assert "my-llama *" in administrator("model", "list")[1]
    code, _, err = administrator("model", "retire", "my-llama")
    assert code == 2
    assert "make another one the default first" in err
    assert administrator("model", "retire", "other")[:2] == (0, "other is retired\n")
    code, _, err = administrator("settings", "set", "base_model", "other")
    assert code == 2
    assert "names no base_model" in err
    assert listed(administrator, "model")["other"]["retired_at"]
    assert administrator(*register)[0] == 0
    assert listed(administrator, "model")["other"]["retired_at"] is None
    assert administrator("model", "show", "nobody")[0] == 2


def test_the_end_of_a_range_is_taken_as_it_is_typed(administrator: Loradex) -> None:
    """A float would make 2^63 - 1 one more, which no seed may be."""
    largest = str(2**63 - 1)
    code, out, _ = administrator("settings", "set", "seed", "--maximum", largest, "--json")
    assert code == 0
    assert str(json.loads(out)["maximum"]) == largest
    told = {one["name"]: one for one in json.loads(administrator("settings", "--json")[1])}
    assert str(told["seed"]["maximum"]) == largest
    for wrong in ("x", "nan", str(2**63)):
        code, _, err = administrator("settings", "set", "seed", "--maximum", wrong)
        assert code == 2
        assert err.count("\n") == 1


def test_an_encoder_from_registration_to_retirement(
    administrator: Loradex, tiny_library: TinyLibrary
) -> None:
    register = ("encoder", "register", tiny_library.encoder, "--name", "own")
    code, out, err = administrator(*register)
    assert (code, err) == (0, "")
    assert out.startswith(f"own is registered: {DIMENSIONS} dimensions, revision ")
    assert f"LORADEX_ENCODER=own LORADEX_ENCODER_PATH={tiny_library.encoder}" in out
    assert json.loads(administrator("encoder", "show", "own", "--json")[1])["examples"] == 0
    assert administrator("encoder", "retire", "own")[0] == 0
    assert listed(administrator, "encoder")["own"]["retired_at"]
    assert "retired" in administrator("encoder", "list")[1]
    assert administrator(*register, "--json")[0] == 0
    assert listed(administrator, "encoder")["own"]["retired_at"] is None


def test_what_jobs_wait_for_is_not_retired(
    administrator: Loradex, tiny_library: TinyLibrary, database_url: str
) -> None:
    for name in ("smollm2-135m-instruct", "second"):
        administrator("model", "register", tiny_library.base, "--name", name)
    for name in ("all-MiniLM-L6-v2", "second-encoder"):
        administrator("encoder", "register", tiny_library.encoder, "--name", name)
    with Client(database_url, "redis://127.0.0.1:1/0") as client:
        client.enqueue("Is it warm?", base_model="second", encoder="second-encoder")
    for what, name in (("model", "second"), ("encoder", "second-encoder")):
        code, _, err = administrator(what, "retire", name)
        assert code == 2
        assert "1 jobs wait for" in err


def test_what_is_not_a_model_is_one_line(
    administrator: Loradex, tiny_library: TinyLibrary, tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for words, reason in (
        (("model", "register", empty), "no such file; name the directory of a model"),
        (("encoder", "register", empty), "no such file; name the directory of a model"),
        (("model", "register", tmp_path / "nowhere"), "no such directory"),
        (("model", "register", "someone/model"), "the hub does not give it"),
        (("model", "register", tiny_library.encoder), "does not write texts"),
        (("model", "register", tiny_library.base, "--template", "Q:"), "write {prompt}"),
        (("model", "register", tiny_library.base, "--chat-template"), "give --template"),
    ):
        code, out, err = administrator(*words)
        assert (code != 0, out, err.count("\n")) == (True, "", 1), words
        assert reason in err
    assert listed(administrator, "model") == listed(administrator, "encoder") == {}


def test_messages_are_read_by_the_models_template_or_a_given_one(
    administrator: Loradex, tiny_library: TinyLibrary, tmp_path: Path
) -> None:
    base = tmp_path / "chatty"
    shutil.copytree(tiny_library.base, base)
    assert listed(administrator, "model") == {}
    code, _, err = administrator("model", "register", base, "--messages", "own")
    assert code != 0
    assert "there is no chat template" in err

    (base / "chat_template.jinja").write_text(CHAT)
    code, out, _ = administrator("model", "register", base, "--messages", "own")
    assert code == 0
    assert "its chat template reads messages of system, user and assistant" in " ".join(out.split())
    assert listed(administrator, "model")["chatty"]["messages"] == "system, user, assistant"
    assert listed(administrator, "model")["chatty"]["frame"] == "{prompt}\nAnswer:"

    given = tmp_path / "turns.jinja"
    given.write_text(
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}" + CHAT
    )
    code, out, _ = administrator("model", "register", base, "--messages", given)
    assert code == 0
    assert "it has no system message" in " ".join(out.split())
    assert listed(administrator, "model")["chatty"]["messages"] == "user, assistant"

    given.write_text("{{ messages[0].content }}")
    code, out, err = administrator("model", "register", base, "--messages", given)
    assert (code != 0, out) == (True, "")
    assert "leaves out message 2, of assistant" in " ".join(err.split())
    assert listed(administrator, "model")["chatty"]["messages"] == "user, assistant"


def test_one_option_takes_the_template_for_prompts_and_messages(
    administrator: Loradex, tiny_library: TinyLibrary, tmp_path: Path
) -> None:
    base = tmp_path / "chatty"
    shutil.copytree(tiny_library.base, base)
    (base / "chat_template.jinja").write_text(CHAT)
    assert administrator("model", "register", base, "--chat-template")[0] == 0
    told = listed(administrator, "model")["chatty"]
    assert (told["frame"], told["messages"]) == (
        "<|user|>\n{prompt}<|end|>\n<|assistant|>\n",
        "system, user, assistant",
    )


def test_a_chat_template_becomes_a_frame(tmp_path: Path) -> None:
    config = {"bos_token": {"content": "<s>"}, "chat_template": [{"name": "default", "template": CHAT}]}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    frame = chat_frame(confined, tmp_path)
    assert frame == "<s><|user|>\n{prompt}<|end|>\n<|assistant|>\n"
    (tmp_path / "chat_template.jinja").write_text("{{ raise_exception('only tools') }}")
    with pytest.raises(ModelRefusedError, match="only tools"):
        chat_frame(confined, tmp_path)
    (tmp_path / "chat_template.jinja").write_text("{{ messages[0].content | upper }}")
    with pytest.raises(ModelRefusedError, match="leaves out message 1"):
        chat_frame(confined, tmp_path)


@pytest.mark.parametrize(
    ("config", "context"),
    [
        ({"n_positions": 64, "architectures": ["GPT2LMHeadModel"]}, 64),
        ({"max_position_embeddings": 99, "sliding_window": 8}, 99),
        ({"text_config": {"max_position_embeddings": 12}}, 12),
    ],
)
def test_how_much_a_model_reads(config: dict[str, Any], context: int, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    assert read_base_model(tmp_path, "m", "{prompt}").context_length == context


@pytest.mark.parametrize(
    ("places", "why"), [(True, "says how many tokens it reads"), (10**30, "more than any model reads")]
)
def test_what_no_model_reads_is_refused(places: int, why: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"max_position_embeddings": places}))
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    with pytest.raises(ModelRefusedError, match=why):
        read_base_model(tmp_path, "m", "{prompt}")


def test_a_living_worker_is_counted(
    answering: Stack, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name, value in answering.environment().items():
        monkeypatch.setenv(name, value)
    for what in ("model", "encoder"):
        assert cli.run([what, "list", "--json"]) == 0
        (one,) = json.loads(capfd.readouterr().out)
        assert (one["workers"], one["is_default"]) == (1, True)
    assert cli.run(["model", "show", "smollm2-135m-instruct", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["modules"] == 16, "as the worker announced them"
