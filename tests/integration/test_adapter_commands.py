"""`loradex adapter`, as a user calls it: what is registered, who answers, and what is refused before it harms."""

import json
import shutil
from pathlib import Path

import pytest
from tests.fix_adapters import SHAPES, MakeAdapter
from tests.fix_commands import Loradex
from tests.fix_db import Connection
from tests.fix_library import SmallLibrary
from tests.tiny_library import TinyLibrary


@pytest.mark.usefixtures("with_base_model")
def test_an_adapter_from_registration_to_retirement(
    loradex: Loradex, make_adapter: MakeAdapter, card_directory: Path
) -> None:
    register = ("adapter", "register", "--task", "tools", "--cards", card_directory)
    first, second = make_adapter("one", seed=1), make_adapter("two", seed=2)
    code, out, err = loradex(*register, first)
    assert code == 0
    assert "retrieval cannot find it" in err
    assert out.startswith("tools version 1 registered (content ")
    assert loradex(*register, first)[1].startswith("tools version 1 has these files already and is active")
    made = json.loads(loradex(*register, second, "--json")[1])
    assert (made["version"], made["uri"], made["created"], made["share"]) == (2, "two", True, 1)
    listed = json.loads(loradex("adapter", "list", "--json")[1])
    assert [(row["name"], row["version"]) for row in listed] == [("tools", 2)]
    assert len(json.loads(loradex("adapter", "list", "--all", "--json")[1])) == 2
    assert loradex("adapter", "activate", "tools", "--version", 1)[1].splitlines() == [
        "tools version 1 is active",
        "tools version 1 answers tools now; retired: tools version 2",
    ]
    assert loradex("adapter", "retire", "tools")[1].splitlines() == [
        "tools version 1 is retired",
        "no adapter answers tools now; retired: tools version 1",
    ], "the active version, not the newest"
    assert json.loads(loradex("adapter", "list", "--json")[1]) == []
    shown = json.loads(loradex("adapter", "show", "tools", "--json")[1])
    assert (shown["version"], shown["rank"], shown["target_modules"]) == (2, 2, ["down_proj", "q_proj"])
    code, out, _ = loradex("adapter", "show", "tools")
    assert code == 0
    assert made["sha256"] in out
    assert loradex("adapter", "verify")[:2] == (0, "2 of 2 adapters are as they were registered\n")
    (second / "adapter_model.safetensors").write_bytes((first / "adapter_model.safetensors").read_bytes())
    code, out, _ = loradex("adapter", "verify")
    assert code == 1
    assert out.splitlines() == [
        f"tools version 2: {second / 'adapter_model.safetensors'}: not what was registered",
        "1 of 2 adapters are as they were registered",
    ]


@pytest.mark.usefixtures("with_base_model")
def test_refused_adapters_are_one_line_and_leave_nothing(
    loradex: Loradex,
    make_adapter: MakeAdapter,
    card_directory: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    outside = tmp_path_factory.mktemp("outside")
    for arguments, reason, code in (
        ((make_adapter("dora", config={"use_dora": True}), "--task", "tools"), "use_dora is set", 1),
        ((make_adapter("good"), "--task", "cooking"), "no task card cooking", 2),
        (
            (make_adapter("other", config={"base_model_name_or_path": "x"}), "--task", "tools"),
            "trained for 'x'",
            1,
        ),
        ((outside, "--task", "tools"), "LORADEX_ADAPTER_ROOTS", 1),
    ):
        found, out, err = loradex("adapter", "register", *arguments, "--cards", card_directory)
        assert (found, out, err.count("\n")) == (code, "", 1)
        assert reason in err
    assert json.loads(loradex("adapter", "list", "--all", "--json")[1]) == []


@pytest.mark.usefixtures("with_base_model")
def test_what_the_base_model_is_decides_not_what_it_is_called(
    loradex: Loradex, connection: Connection, make_adapter: MakeAdapter, card_directory: Path
) -> None:
    """Its aliases are rows, and so are its modules' sizes: told once, no files are needed to refuse a wrong model."""
    register = ("adapter", "register", "--task", "tools", "--cards", card_directory)
    directory = make_adapter(config={"base_model_name_or_path": "someone/other-name"})
    code, _, err = loradex(*register, directory)
    assert (code, "loradex model alias" in err) == (1, True)
    assert loradex("model", "alias", "tiny-llama", "Someone/Other-Name")[0] == 0
    revision = "select revision from loradex.base_models where name = 'tiny-llama'"
    described = f"select loradex.describe_base_model('tiny-llama', ({revision}), %s::jsonb)"
    sizes = {f"model.layers.{layer}.{module}": size for layer in (0, 1) for module, size in SHAPES.items()}
    connection.execute(described, (json.dumps(sizes | {"model.layers.1.mlp.down_proj": (8, 17)}),))
    code, out, err = loradex(*register, directory)
    assert (code, out) == (1, "")
    assert "is for a weight of [8, 16], the base model has [8, 17]" in err
    connection.execute(described, (json.dumps(sizes),))
    code, _, err = loradex(*register, directory)
    assert (code, "could not be checked" in err) == (0, False)


def test_registering_for_an_unknown_base_model_says_what_to_do(
    loradex: Loradex, make_adapter: MakeAdapter, card_directory: Path
) -> None:
    code, _, err = loradex(
        "adapter", "register", make_adapter(), "--task", "tools", "--cards", card_directory
    )
    assert code == 2
    assert "start a worker once" in err


def test_an_absurd_update_is_flagged_and_remembered(
    loradex: Loradex, make_adapter: MakeAdapter, card_directory: Path, with_base_model: None
) -> None:
    directory = make_adapter(config={"lora_alpha": 4000})
    code, _, err = loradex("adapter", "register", directory, "--task", "tools", "--cards", card_directory)
    assert code == 0
    assert "as large as a model's own weights" in err
    shown = json.loads(loradex("adapter", "show", "tools", "--json")[1])
    assert len(shown["card"]["warnings"]) == 1


def announce(connection: Connection, *roots: Path, name: str = "w1") -> None:
    connection.execute(
        "select loradex.announce_worker(worker => %s, base_model => 'tiny-llama', encoder => 'tiny', "
        "device => 'cpu', dtype => 'float32', adapter_roots => %s, batch_rows => 8, versions => '{}')",
        (name, [str(root) for root in roots]),
    )


@pytest.mark.usefixtures("with_base_model")
def test_what_no_living_worker_reads_retires_nobody(
    loradex: Loradex,
    connection: Connection,
    make_adapter: MakeAdapter,
    card_directory: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Registering and verifying share one list of roots with the workers."""
    register = ("adapter", "register", "--task", "tools", "--cards", card_directory)
    there, elsewhere = make_adapter("there/one", seed=1), make_adapter("elsewhere/two", seed=2)
    monkeypatch.setenv("LORADEX_ADAPTER_ROOTS", str(tmp_path / "elsewhere"))
    announce(connection, tmp_path / "there")
    assert json.loads(loradex(*register, there, "--json")[1])["uri"] == "one", (
        "a worker reads it: that is enough"
    )
    code, out, err = loradex(*register, elsewhere)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"no living worker reads adapters below '{tmp_path / 'elsewhere'}'" in err
    assert f"LORADEX_ADAPTER_ROOTS={tmp_path / 'elsewhere'}" in err
    listed = json.loads(loradex("adapter", "list", "--json")[1])
    assert [(one["name"], one["version"], one["state"]) for one in listed] == [("tools", 1, "active")]
    assert loradex("adapter", "verify")[0] == 0
    monkeypatch.setenv("LORADEX_ADAPTER_ROOTS", str(tmp_path / "elsewhere"))
    announce(connection, tmp_path / "there", tmp_path / "elsewhere", name="w2")
    assert loradex(*register, elsewhere)[0] == 0


def test_who_is_told_no_base_model_takes_that_of_the_database(
    loradex: Loradex,
    make_adapter: MakeAdapter,
    card_directory: Path,
    tiny_library: TinyLibrary,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loradex("model", "register", tiny_library.base, "--name", "tiny-llama")
    assert loradex("settings", "set", "base_model", "tiny-llama")[0] == 0
    monkeypatch.delenv("LORADEX_BASE_MODEL")
    directory = make_adapter(config={"base_model_name_or_path": "someone/tiny-llama"})
    code, _, err = loradex("adapter", "register", "--task", "tools", "--cards", card_directory, directory)
    assert code == 1
    assert "the base model has" in err, "which is held against the tiny one, whose modules have other sizes"


@pytest.mark.usefixtures("with_base_model")
def test_each_adapter_is_looked_for_where_workers_of_its_base_model_read(
    loradex: Loradex,
    connection: Connection,
    make_adapter: MakeAdapter,
    card_directory: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LORADEX_ADAPTER_ROOTS", str(tmp_path / "elsewhere"))
    announce(connection, tmp_path / "there")
    directory = make_adapter("there/one")
    assert loradex("adapter", "register", "--task", "tools", "--cards", card_directory, directory)[0] == 0
    monkeypatch.setenv("LORADEX_BASE_MODEL", "another-model")
    assert loradex("adapter", "verify")[:2] == (0, "1 of 1 adapters are as they were registered\n")


def test_a_library_that_no_living_worker_reads_is_not_loaded(
    loradex: Loradex,
    connection: Connection,
    small_library: SmallLibrary,
    card_directory: Path,
    tmp_path: Path,
) -> None:
    load = ("library", "load", small_library.directory, "--cards", card_directory)
    announce(connection, tmp_path / "there")
    code, out, err = loradex(*load)
    assert (code, out, "no living worker reads" in err) == (2, "", True)
    assert connection.execute("select from loradex.base_models").fetchall() == []
    announce(connection, tmp_path / "roots", name="w2")
    assert loradex(*load)[0] == 0


@pytest.mark.usefixtures("with_base_model")
def test_without_a_worker_it_says_how_to_start_one(
    loradex: Loradex,
    make_adapter: MakeAdapter,
    card_directory: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LORADEX_ADAPTER_ROOTS", str(tmp_path / "there"))
    register = ("adapter", "register", "--task", "tools", "--cards", card_directory)
    code, _, err = loradex(*register, make_adapter("there/one"))
    assert code == 0
    cure = f"no worker of tiny-llama lives now; start it with LORADEX_ADAPTER_ROOTS={tmp_path / 'there'}"
    assert cure in err
    monkeypatch.setenv("LORADEX_ADAPTER_ROOTS", f"{tmp_path / 'new'}:{tmp_path / 'there'}")
    shutil.copytree(tmp_path / "there" / "one", tmp_path / "new" / "moved")
    code, out, err = loradex(*register, tmp_path / "new" / "moved")
    assert (code, "from now on" in out) == (0, True)
    assert cure.replace("there", "new") in err


@pytest.mark.usefixtures("with_base_model")
def test_files_that_are_known_stay_where_workers_read_them(
    loradex: Loradex,
    make_adapter: MakeAdapter,
    connection: Connection,
    card_directory: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Registering them again from a directory that no worker reads does no harm, and that is said."""
    announce(connection, tmp_path / "there")
    register = ("adapter", "register", "--task", "tools", "--cards", card_directory)
    assert loradex(*register, make_adapter("there/one"))[0] == 0
    monkeypatch.setenv("LORADEX_ADAPTER_ROOTS", str(tmp_path / "new"))
    shutil.copytree(tmp_path / "there" / "one", tmp_path / "new" / "copied")
    code, out, _ = loradex(*register, tmp_path / "new" / "copied")
    assert code == 0
    assert f"no living worker reads below {tmp_path / 'new'}; nothing was changed" in out


@pytest.mark.usefixtures("with_base_model")
def test_the_same_files_again_say_what_became_of_them(
    loradex: Loradex, make_adapter: MakeAdapter, card_directory: Path
) -> None:
    register = ("adapter", "register", "--task", "tools", "--cards", card_directory)
    one, two = make_adapter("one", seed=1), make_adapter("two", seed=2)
    for directory in (one, two):
        loradex(*register, directory)
    _, out, err = loradex(*register, one, "--name", "mine", "--share", 0.5)
    assert out.splitlines() == [
        out.splitlines()[0],
        "tools version 2 answers tools now",
        "to let it answer: loradex adapter activate tools --version 1",
    ]
    assert "has these files already and is retired; nothing was changed" in out
    assert "the name mine was not used: these files are tools version 1" in err
    _, out, err = loradex(*register, two, "--share", 0.5, "--trained-on", "rivers")
    assert "its share stays 1; to change it: loradex adapter activate tools --version 2 --share 0.5" in err
    assert "trained on stays as it was declared first" in err


@pytest.mark.usefixtures("with_base_model")
def test_files_that_moved_are_registered_again_and_found_at_their_new_place(
    loradex: Loradex, make_adapter: MakeAdapter, card_directory: Path, tmp_path: Path
) -> None:
    register = ("adapter", "register", "--task", "tools", "--cards", card_directory)
    directory = make_adapter("before")
    loradex(*register, directory)
    directory.rename(tmp_path / "after")
    assert loradex("adapter", "verify")[0] == 1
    code, out, err = loradex(*register, tmp_path / "after")
    assert code == 0
    assert "workers look for them at after from now on, and not at before any more" in out
    assert "registered at" not in err
    assert json.loads(loradex(*register, tmp_path / "after", "--json")[1])["moved_from"] is None
    assert loradex("adapter", "verify")[:2] == (0, "1 of 1 adapters are as they were registered\n")
    shown = json.loads(loradex("adapter", "show", "tools", "--json")[1])
    assert (shown["version"], shown["uri"], shown["state"]) == (1, "after", "active")


@pytest.mark.usefixtures("with_base_model")
def test_adapters_are_staged_and_share_a_task(
    loradex: Loradex, make_adapter: MakeAdapter, card_directory: Path, data_directory: Path
) -> None:
    register = ("adapter", "register", "--task", "tools", "--cards", card_directory)
    loradex(*register, make_adapter("one", seed=1))
    code, out, _ = loradex(*register, make_adapter("two", seed=2), "--name", "new", "--state", "staged")
    assert (code, out.splitlines()[1:]) == (
        0,
        [
            "tools version 1 answers tools now",
            "to let it answer: loradex adapter activate new --version 1",
        ],
    )
    assert loradex("adapter", "activate", "new", "--share", 0.1)[1].splitlines()[1] == (
        "these share tools now: tools version 1 0.9, new version 1 0.1"
    )
    made = json.loads(loradex(*register, make_adapter("three", seed=3), "--share", 0.5, "--json")[1])
    assert [(one["name"], one["version"], round(one["share"], 9)) for one in made["answering"]] == [
        ("tools", 2, 0.5),
        ("tools", 1, 0.45),
        ("new", 1, 0.05),
    ]
    code, out, err = loradex("adapter", "retire", "tools")
    assert (code, out) == (2, "")
    assert "versions 1, 2 of adapter 'tools' are active; say which" in err
    assert "active 0.05" in " ".join(loradex("adapter", "list")[1].split())
    for arguments in (("--share", 0), ("--state", "asleep"), ("--state", "staged", "--share", 0.5)):
        assert loradex(*register, make_adapter(f"bad{arguments}"), *arguments)[0] == 2
    assert loradex("adapter", "retire", "new")[1].splitlines()[1] == (
        "these share tools now: tools version 2 0.5263, tools version 1 0.4737; retired: new version 1"
    )
    # Found through a task it was declared to be trained on, which has examples.
    loradex("examples", "add", data_directory / "rivers.train.jsonl", "--cards", card_directory)
    declared = ("--trained-on", "rivers", "--trained-on", "weather", "--json")
    wide = json.loads(loradex(*register, make_adapter("four", seed=4), "--name", "wide", *declared)[1])
    assert not any("retrieval" in warning for warning in wide["warnings"])
    assert json.loads(loradex("adapter", "show", "wide", "--json")[1])["trained_on"] == ["rivers", "weather"]
    assert loradex(*register, make_adapter("five", seed=5), "--trained-on", "cooking")[0] == 2
