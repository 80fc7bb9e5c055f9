"""The commands about answers: ask, explain, replay, audit."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.fix_answering import Stack
from tests.repository import ROOT

from loradex import terminal
from loradex.db.session import connect
from loradex.errors import JobFailedError
from loradex.service.cli import ask, run
from loradex.service.client import Client
from loradex.service.client.request import FIELDS
from loradex.worker.replay import _documents

PROMPT = "The kettle whistles. Is the water hot?"
NOBODY = "0198c5f2-6d3e-7c41-9a55-0c1d2e3f4a5b"

Command = Callable[..., int]


@pytest.fixture
def command(answering: Stack, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs `loradex …` against the running stack; returns the exit code."""
    for name, value in answering.environment().items():
        monkeypatch.setenv(name, value)
    return lambda *words: run(list(words))


def test_ask_prints_one_json_object(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("ask", PROMPT, "--choices", "yes, no,maybe", "--json") == 0

    said = json.loads(capsys.readouterr().out)
    wanted = {"answer_id", "choice", "scores", "method", "mixture", "neighbours", "distribution"}
    assert wanted <= said.keys()
    assert said["choice"] in {"yes", "no", "maybe"}
    assert all({"task", "adapter", "sha256", "weight"} <= part.keys() for part in said["mixture"])


SETTINGS: dict[str, tuple[str, ...]] = {
    "embedded_messages": ("last",),
    "method": ("base",),
    "base_model": ("smollm2-135m-instruct",),
    "encoder": ("all-MiniLM-L6-v2",),
    "k": ("8",),
    "top_p": ("0.8",),
    "temperature": ("0.2",),
    "exclude_task": ("weather",),
    "exclude_adapter": ("tiny-weather",),
    "density": ("0.4",),
    "normalization": ("bytes",),
    "choice_prior": ("history",),
    "max_new_tokens": ("4",),
    "min_tokens": ("1",),
    "stop": ("zq", "a, b"),
    "sampling_temperature": ("0.5",),
    "sampling_top_k": ("9",),
    "sampling_top_p": ("0.9",),
    "sampling_min_p": ("0.01",),
    "repetition_penalty": ("1.1",),
    "presence_penalty": ("0.1",),
    "frequency_penalty": ("0.2",),
    "logit_bias": ("7=-1.5", "9=2"),
    "logprobs": ("1",),
    "regex": (".*",),
    "seed": ("3",),
    "expected_task": ("kitchen",),
    "idempotency_key": ("of-all-settings",),
    "metadata": ("run=all", "of=settings"),
    "priority": ("1",),
    "deadline": ("60",),
}
"""What is asked of a text, as the command's options have it; texts of a list are given one by one."""


def test_every_setting_of_a_text_may_be_given(
    command: Command, client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    of_others = {"prompt", "messages", "choices", "json_schema", "adapter", "stream", "traceparent"}
    given = {ask.ONE_BY_ONE.get(name, name) for name in FIELDS if name not in of_others}
    assert given == SETTINGS.keys()
    words = [
        word
        for name, texts in SETTINGS.items()
        for text in texts
        for word in (f"--{name.replace('_', '-')}", text)
    ]
    assert command("ask", PROMPT, *words, "--json") == 0
    told = client.explain(json.loads(capsys.readouterr().out)["answer_id"])
    assert told["generation"]["stop"] == ["zq", "a, b"]
    assert told["generation"]["logit_bias"] == {"7": -1.5, "9": 2}


def test_ask_holds_a_text_to_a_schema(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text('{"enum": ["yes", "no"]}', encoding="utf-8")
    words = ("ask", PROMPT, "--method", "base", "--json")
    assert command(*words, "--json-schema", str(schema)) == 0
    assert json.loads(json.loads(capsys.readouterr().out)["text"]) in {"yes", "no"}
    assert command(*words, "--json-schema", str(tmp_path / "missing")) == 2
    assert "takes the path of a file" in capsys.readouterr().err
    assert command(*words, "--regex", "(a") == 2
    assert "unclosed group" in capsys.readouterr().err


def test_ask_and_explain_tell_people(
    command: Command, client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("ask", PROMPT, "--method", "ties", "--max-new-tokens", "3") == 0
    told = capsys.readouterr().out
    assert "mixture (ties)" in told
    assert "█" in told
    answer = told.split("loradex explain ")[1].split()[0]

    assert command("explain", answer) == 0
    account = capsys.readouterr().out
    for fact in (PROMPT, "Retrieval", "tiny-kitchen", "sign conflict", answer, "replay"):
        assert fact in account
    assert command("explain", answer, "--json") == 0
    assert json.loads(capsys.readouterr().out) == client.explain(answer)


def test_words_are_shown_as_they_are_written(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = ("ask", PROMPT, "--method", "base", "--max-new-tokens", "5")
    assert command(*wanted) == 0
    whole = capsys.readouterr().out
    assert command(*wanted, "--stream") == 0
    told = capsys.readouterr().out
    assert told.split("\nanswer ")[0] == whole.split("\nanswer ")[0]
    assert command(*wanted, "--stream", "--json") == 0
    assert whole.startswith(terminal.safe(json.loads(capsys.readouterr().out)["text"]))
    assert command("ask", "long " * 4000, "--stream") == 1
    assert "prompt" in capsys.readouterr().err


def test_several_answers_are_shown_one_after_the_other(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = ("ask", PROMPT, "--method", "base", "--max-new-tokens", "5", "-n", "2", "--seed", "1")
    wanted = (*wanted, "--sampling-temperature", "1.5")
    assert command(*wanted, "--json") == 0
    texts = [one["text"] for one in json.loads(capsys.readouterr().out)]
    assert len(set(texts)) == 2
    for more in ((), ("--stream",)):
        assert command(*wanted, *more) == 0
        told = capsys.readouterr().out
        assert told.startswith(terminal.safe(texts[0]))
        assert told.count("\nanswer ") == 2
        assert terminal.safe(texts[1]) in told
    assert command("ask", PROMPT, "-n", "17") == 2
    assert "n: must be" in capsys.readouterr().err


def test_an_answer_of_the_bare_model_says_so(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("ask", PROMPT, "--method", "base", "--max-new-tokens", "2") == 0

    assert "the base model answered alone" in capsys.readouterr().out


def test_markup_in_a_prompt_is_text(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("ask", "[bold]Is[/nonsense] it?", "--choices", "[red]a,b[/b]", "--json") == 0
    answer = json.loads(capsys.readouterr().out)["answer_id"]

    assert command("explain", answer) == 0
    assert "[bold]Is[/nonsense] it?" in capsys.readouterr().out


def test_an_erased_answer_is_told_as_far_as_it_is_left(
    answering: Stack, command: Command, client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen, written = (
        client.enqueue(PROMPT, **settings).wait()
        for settings in ({"choices": ["boiling", "lukewarm"]}, {"max_new_tokens": 3})
    )
    with connect(answering.database_url) as owner:
        owner.execute(
            "select loradex.erase_jobs('why', 'who', %s)", ([chosen.job_id, written.job_id],)
        ).fetchall()

    for one in (chosen, written):
        answer = str(one.answer_id)
        assert command("explain", answer) == 0
        told = capsys.readouterr().out
        assert [line.split() for line in told.splitlines() if " prompt " in line or " text " in line] == [
            ["prompt", "erased"],
            ["text", "erased"],
        ]
        assert PROMPT not in told
        assert command("explain", answer, "--json") == 0
        assert json.loads(capsys.readouterr().out)["erased"] is True
        with pytest.raises(JobFailedError, match="shows what is left") as refused:
            client.answer(answer)
        assert refused.value.code == "erased"
    assert command("explain", str(chosen.answer_id)) == 0
    scores = chosen.scores or ()
    told = capsys.readouterr().out
    assert all(["erased", f"{score:.4f}"] in [line.split() for line in told.splitlines()] for score in scores)
    assert "lukewarm" not in told

    assert command("replay", str(chosen.answer_id), str(written.answer_id)) == 1
    told = " ".join(capsys.readouterr().out.split())
    assert told.count("not replayed: its question was erased, so that it cannot be answered once more") == 2
    drawn = {one["answer_id"] for one in _documents(answering.database_url, [], 10_000, 0)}
    assert not drawn & {str(chosen.answer_id), str(written.answer_id)}


def test_workers_are_listed(
    answering: Stack, command: Command, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command("worker", "list", "--json", "--here") == 0
    (one,) = json.loads(capsys.readouterr().out)
    assert (one["living"], one["encoder"], one["device"]) == (True, "all-MiniLM-L6-v2", "cpu")
    assert str(answering.library.root) in one["adapter_roots"]
    assert command("worker", "list") == 0
    assert "lives" in capsys.readouterr().out

    monkeypatch.setattr("socket.gethostname", lambda: "elsewhere")
    assert command("worker", "list", "--here") == 1


@pytest.mark.parametrize(
    ("words", "code", "hint"),
    [
        (["ask", ""], 2, "prompt"),
        (["ask", PROMPT, "--choices", "yes"], 2, "at least 2"),
        (["ask", PROMPT, "--choices", "yes,yes"], 2, "same"),
        (["ask", PROMPT, "--choices", '"yes'], 2, "--choices"),
        (["ask", PROMPT, "--k", "0"], 2, "k"),
        (["ask", PROMPT, "--k", "many"], 2, "--k"),
        (["ask", PROMPT, "--top-p", "1.5"], 2, "top_p"),
        (["ask", PROMPT, "--top-p", "nan"], 2, "top_p"),
        (["ask", PROMPT, "--temperature", "0"], 2, "temperature"),
        (["ask", PROMPT, "--method", "magic"], 2, "magic"),
        (["ask", PROMPT, "--method", "own", "--adapter", "nobody"], 2, "nobody"),
        (["ask", PROMPT, "--exclude-task", "nothing"], 2, "exclude_tasks"),
        (["ask", PROMPT, "--timeout", "-1"], 2, "--timeout"),
        (["ask", "word " * 200], 1, "256"),
        (["ask"], 2, "--help"),
        (["explain", "nonsense"], 1, "nonsense"),
        (["explain", NOBODY], 1, "no answer"),
        (["replay"], 2, "--sample"),
        (["replay", "nonsense"], 1, "nonsense"),
        (["audit", "verify", "--head", "abc"], 2, "64"),
    ],
)
def test_a_bad_call_is_one_line_that_says_what_to_do(
    command: Command, capfd: pytest.CaptureFixture[str], words: list[str], code: int, hint: str
) -> None:
    assert command(*words) == code

    said = capfd.readouterr()
    assert said.out == ""
    assert hint in said.err
    assert said.err.count("\n") == 1
    assert "Traceback" not in said.err


@pytest.mark.parametrize(
    ("name", "value", "hint"),
    [
        ("LORADEX_DATABASE_URL", "postgresql://127.0.0.1:1/nothing", "loradex up"),
        ("LORADEX_DATABASE_URL", "nonsense", "LORADEX_DATABASE_URL"),
        ("LORADEX_REDIS_URL", "ftp://somewhere", "LORADEX_REDIS_URL"),
    ],
)
def test_a_wrong_address_is_one_line(
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    value: str,
    hint: str,
) -> None:
    monkeypatch.setenv(name, value)

    assert command("ask", PROMPT) in {1, 2}

    said = capsys.readouterr()
    assert hint in said.err
    assert said.err.count("\n") == 1


def test_without_a_stack_the_cure_is_named(
    command: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: object
) -> None:
    monkeypatch.setenv("LORADEX_HOME", str(tmp_path))
    monkeypatch.delenv("LORADEX_DATABASE_URL")

    assert command("ask", PROMPT) == 1

    assert "loradex up" in capsys.readouterr().err


def test_replay_finds_the_same_tokens_and_a_swapped_file(
    command: Command, answering: Stack, client: Client, capfd: pytest.CaptureFixture[str]
) -> None:
    asked = [
        {"prompt": PROMPT, "max_new_tokens": 6, "method": method}
        for method in ("cat", "ties", "linear", "base", "top1")
    ]
    asked += [{"prompt": PROMPT, "choices": ["yes", "no"]}]
    asked += [{"prompt": PROMPT, "sampling_temperature": 1.2, "seed": 5, "max_new_tokens": 6}]
    answers = [str(job.wait().answer_id) for job in client.enqueue_many(asked)]

    assert command("replay", *answers, "--json") == 0
    replays = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [one["answer_id"] for one in replays] == answers
    assert all(one["same"] and one["recipe_same"] and one["problem"] is None for one in replays)
    assert max(one["score_difference"] or 0 for one in replays) < 1e-4

    weights = answering.library.adapters["kitchen"].directory / "adapter_model.safetensors"
    kept = weights.read_bytes()
    try:
        weights.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
        assert command("replay", answers[0], answers[3]) == 1
        said = capfd.readouterr().out
        assert "content hash" in said
        assert "1 of 2 the same" in said
    finally:
        weights.write_bytes(kept)


def test_audit_prints_a_head_and_notices_what_was_done_to_the_chain(
    command: Command, client: Client, answering: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    client.enqueue(PROMPT, max_new_tokens=2).wait()
    assert command("audit", "head") == 0
    head = capsys.readouterr().out.strip()
    assert command("audit", "verify", "--head", head, "--json") == 0
    assert json.loads(capsys.readouterr().out)["intact"] is True
    assert command("audit", "verify", "--head", "0" * 64) == 1
    assert "cut or rewritten" in capsys.readouterr().out

    with connect(answering.database_url) as connection, connection.transaction(force_rollback=True):
        # Only this transaction sees the change; for everybody else the chain stays whole.
        connection.execute("set local session_replication_role = replica")
        connection.execute("update loradex.answers set text = 'forged' where position = 1")
        broken = connection.execute("select position from loradex.verify_audit_chain()").fetchall()
    assert [row[0] for row in broken] == [1]
    assert command("audit", "verify") == 0


def test_the_commands_start_without_torch() -> None:
    program = (
        "import sys, loradex.service.client, loradex.service.cli.ask, loradex.service.cli.explain;"
        "import loradex.worker.commands.replay, loradex.service.cli.audit;"
        "print(sorted({'torch', 'transformers', 'celery'} & set(sys.modules)))"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "[]"
