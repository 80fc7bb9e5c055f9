"""One's own models from end to end, by the commands of the pages and no others."""

import json
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.fix_models import byte_tokenizer, save_adapter, tiny_model
from tests.fix_training import write_data
from tests.repository import ROOT
from tests.tiny_encoders import PLACES, save_encoder
from tests.tokenizers_at_hand import TEMPLATE
from tests.worker_process import WorkerProcess

from loradex.service import cli
from loradex.service.client import Client

DIMENSIONS = 768
TASKS = ("bridges", "colours", "moods", "rivers", "tools", "weather")
LABELS = '[choices]\nkind = "labels"\nwords = { good = "yes", bad = "no" }\n'
CARDS = {
    "bridges": 'metric = "exact_match"\nprompt = "{prompt}"\n',
    "colours": f'metric = "accuracy"\nprompt = "{{prompt}}"\n{LABELS}',
    "moods": f'metric = "accuracy"\nprompt = "Mood: {{text}}"\n{LABELS}',
    "rivers": 'metric = "exact_match"\nprompt = "River: {question}"\n',
    "tools": 'metric = "accuracy"\nprompt = "Goal: {goal}"\n[choices]\nkind = "options"\n',
    "weather": f'metric = "accuracy"\nprompt = "{{first}} / {{second}}"\n{LABELS}',
}
"""Six tasks, whose examples come in six forms."""


def json_lines(make: Callable[[int], dict[str, Any]]) -> str:
    return "".join(json.dumps(make(number)) + "\n" for number in range(8))


def csv_lines(names: str, make: Callable[[int], str]) -> str:
    return "".join(f"{line}\n" for line in (names, *map(make, range(8))))


FILES = {
    "bridges.train.jsonl": json_lines(
        lambda n: {
            "messages": [
                {"role": "system", "content": "Be short."},
                {"role": "user", "content": f"Which bridge is number {n}?"},
                {"role": "assistant", "content": f"Bridge {n}"},
            ]
        }
    ),
    "colours.train.jsonl": json_lines(
        lambda n: {"prompt": f"Is colour {n} warm?", "completion": ["yes", "no"][n % 2], "source": "me"}
    ),
    "moods.train.csv": csv_lines("text,label", lambda n: f'"So, {n} smiles",{["good", "bad"][n % 2]}'),
    "rivers.train.csv": csv_lines("id,question,answer", lambda n: f"r{n},How long is river {n}?,{n} miles"),
    "tools.train.csv": csv_lines("goal,choices,label", lambda n: f"Fix shelf {n},turn {n}|paint {n},{n % 2}"),
    "weather.train.jsonl": json_lines(
        lambda n: {
            "id": f"weather-{n}",
            "task": "weather",
            "family": "sky",
            "fields": {"first": f"Rain {n}", "second": f"Sun {n}"},
            "choices": ["good", "bad"],
            "label": n % 2,
            "answers": [["good", "bad"][n % 2]],
        }
    ),
}


def block(page: str, heading: str) -> Iterator[str]:
    """The commands of the first block of shell below a heading."""
    text = (ROOT / page).read_text(encoding="utf-8")
    part = text.split(f"## {heading}\n", 1)[1]
    found = re.search(r"```sh\n((?:[^`].*\n)+)```|((?:^    .+\n)+)", part, re.MULTILINE)
    assert found is not None
    lines = (found[1] or found[2]).replace("\\\n", " ").splitlines()
    return (line.strip() for line in lines if line.strip())


@pytest.fixture
def type_in(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[[str], str]:
    """Runs a line of a page; gives what it printed."""

    def run(line: str) -> str:
        program, *words = shlex.split(line, comments=True)
        if program == "export":
            for word in words:
                name, _, value = word.partition("=")
                monkeypatch.setenv(name, value)
            return ""
        assert program == "loradex", line
        expanded = [
            found
            for word in words
            for found in (sorted(map(str, Path("/").glob(word[1:]))) if "*" in word else [word])
        ]
        code = cli.run(expanded)
        told = capfd.readouterr()
        assert code == 0, (line, told.err)
        return told.out

    return run


@pytest.fixture
def srv(tmp_path: Path) -> Path:
    """What the page supposes: a model, an encoder, adapters of six ranks, cards and examples."""
    root = tmp_path / "srv"
    model = tiny_model("llama")
    model.save_pretrained(root / "models" / "my-llama")
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(root / "models" / "my-llama")
    save_encoder(root / "models", "my-encoder", pooling="cls", width=DIMENSIONS, prompts={"query": "Ask: "})
    for folder in ("cards", "data", "adapters"):
        (root / folder).mkdir(exist_ok=True)
    for rank, task in enumerate(TASKS, start=1):
        directory = root / "adapters" / task
        save_adapter(model, directory, rank, r=rank, lora_alpha=2 * rank, target_modules=["q_proj", "v_proj"])
        config = directory / "adapter_config.json"
        told = json.loads(config.read_text()) | {"base_model_name_or_path": "my-llama"}
        config.write_text(json.dumps(told))
        (root / "cards" / f"{task}.toml").write_text(f'name = "{task}"\nfamily = "own"\n{CARDS[task]}')
    for name, text in FILES.items():
        (root / "data" / name).write_text(text)
    return root


def test_own_models_answer_by_the_commands_of_the_page(
    srv: Path,
    database_url: str,
    redis_url: str,
    tmp_path: Path,
    type_in: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    home = tmp_path / "home"
    for name, value in (("HOME", home), ("DATABASE_URL", database_url), ("REDIS_URL", redis_url)):
        monkeypatch.setenv(f"LORADEX_{name}", str(value))
    monkeypatch.setenv("LORADEX_DEVICE", "cpu")
    worker = WorkerProcess(
        home,
        {
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "HOME": str(home),
            "BASE_MODEL": "my-llama",
            "BASE_MODEL_PATH": str(srv / "models/my-llama"),
            "ENCODER": "my-encoder",
            "ENCODER_PATH": str(srv / "models/my-encoder"),
            "ADAPTER_ROOTS": str(srv / "adapters"),
            "SWEEP_SECONDS": "0.5",
        },
    )
    home.mkdir()
    printed = {}
    try:
        for line in (
            *block("docs/models.md", "From files to an answer"),
            *block("docs/models.md", "Messages"),
        ):
            if line.startswith("# A worker"):
                worker.start()
            elif not line.startswith("#"):
                printed[line] = type_in(line.replace("/srv", str(srv)))
        asked = next(out for line, out in printed.items() if line.startswith("loradex ask"))
        assert "mixture (" in asked
        assert all("mixture (" in out for line, out in printed.items() if "--system" in line)
        with Client(database_url, redis_url) as client:
            long = client.enqueue("Is colour 3 warm? " * 9, choices=["yes", "no"]).wait(timeout=60)
            account = client.explain(long.answer_id)
    finally:
        worker.kill()
    assert (account["base_model"], account["retrieval"]["encoder"]) == ("my-llama", "my-encoder")
    told = account["generation"]
    assert told["question_tokens"] == len("Ask: " + "Is colour 3 warm? " * 9)
    assert told["question_tokens_read"] == PLACES - 2
    assert account["mixture"]


def test_a_library_for_another_base_model_by_the_commands_of_the_page(
    tmp_path: Path,
    database_url: str,
    tiny_base: Path,
    type_in: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The database is there already, so `loradex up` is left out; everything else is typed as it stands."""
    write_data(tmp_path, rows=24)
    monkeypatch.setenv("LORADEX_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LORADEX_DATABASE_URL", database_url)
    monkeypatch.setenv("LORADEX_DEVICE", "cpu")
    places = {
        "/srv/libraries": tmp_path / "libraries",
        "/where/it/lies": tiny_base,
        "CARDS": tmp_path / "cards",
        "DIR": tmp_path / "data",
    }
    printed = {}
    for line in block("library/README.md", "A library for another base model"):
        if line == "loradex up --empty":
            continue
        words = line
        for name, place in places.items():
            words = re.sub(rf"(?<![A-Z_]){name}(?![A-Z_=])", str(place), words)
        printed[line] = type_in(words)
    library = tmp_path / "libraries" / "my-model"
    assert (library / "adapters" / "checkpoints").is_dir()
    told = " ".join(printed.values())
    assert "2 adapters, 48 example vectors" in told
    assert sorted(json.loads((library / "manifest.json").read_text())["adapters"]) == ["colours", "echoes"]
