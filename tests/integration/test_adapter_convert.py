"""`loradex adapter convert`: weights come out of a pickle, and nothing else happens."""

import errno
import io
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load
from tests.fix_adapters import MakeAdapter, tensors
from tests.fix_commands import Loradex

from loradex.errors import AdapterRefusedError
from loradex.library.adapter_files import content_hash
from loradex.library.adapter_writing import new_files
from loradex.worker.engine.pickled_adapter import NotWeightsError, converted

ATTEMPTS = """
import os, socket
from loradex.worker.engine.no_rights import give_up_rights

open("mine", "w").close()
give_up_rights(memory=1 << 28, output=1 << 16)
for attempt in (
    lambda: open("mine"),
    lambda: socket.socket(),
    lambda: os.fork(),
    lambda: os.execv("/bin/true", ["true"]),
    lambda: bytearray(1 << 29),
    lambda: os.setuid(0),
):
    try:
        attempt()
    except (OSError, MemoryError):
        print("refused")
    else:
        print("done")
"""


class RunsCode:
    """What a pickle of it does when it is loaded without care."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


def saved(content: object, **options: Any) -> bytes:
    written = io.BytesIO()
    torch.save(content, written, **options)
    return written.getvalue()


def weights() -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array) for name, array in tensors().items()}


def with_pickle(directory: Path, content: bytes) -> Path:
    (directory / "adapter_model.safetensors").unlink()
    (directory / "adapter_model.bin").write_bytes(content)
    return directory


def test_a_pickle_becomes_the_same_adapter(
    loradex: Loradex, make_adapter: MakeAdapter, tmp_path: Path
) -> None:
    directory = with_pickle(make_adapter("old"), saved(weights()))
    code, _, err = loradex("adapter", "convert", directory, "--to", tmp_path / "new")
    assert (code, err) == (0, "")
    read = load((tmp_path / "new" / "adapter_model.safetensors").read_bytes())
    assert read.keys() == weights().keys()
    assert all(torch.equal(read[name], tensor) for name, tensor in weights().items())
    assert len(content_hash(tmp_path / "new")) == 64
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    code, _, err = loradex("adapter", "convert", directory, "--to", tmp_path / "new")
    assert (code, "it is there already" in err) == (1, True)


def test_what_would_run_code_is_refused_and_leaves_nothing(
    loradex: Loradex, make_adapter: MakeAdapter, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    directory = with_pickle(make_adapter(), pickle.dumps(RunsCode(mark), protocol=2))
    code, out, err = loradex("adapter", "convert", directory)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "it asks for more than tensors, and could run code" in err
    assert not mark.exists()
    assert sorted(path.name for path in directory.iterdir()) == ["adapter_config.json", "adapter_model.bin"]
    code, _, err = loradex("adapter", "convert", make_adapter("without"))
    assert (code, "there is no adapter_model.bin" in err) == (1, True)


def test_what_is_refused_leaves_no_new_directory(
    loradex: Loradex, make_adapter: MakeAdapter, tmp_path: Path
) -> None:
    directory = with_pickle(make_adapter(), saved([1, 2]))
    code, _, err = loradex("adapter", "convert", directory, "--to", tmp_path / "deep" / "new")
    assert (code, "it holds a list" in err) == (1, True)
    assert not (tmp_path / "deep").exists()


@pytest.mark.parametrize("link", [False, True])
def test_another_adapter_s_config_is_not_written_over(
    loradex: Loradex, make_adapter: MakeAdapter, tmp_path: Path, link: bool
) -> None:
    directory = with_pickle(make_adapter("old"), saved(weights()))
    kept, place = tmp_path / "kept.json", tmp_path / "new"
    place.mkdir()
    kept.write_text("{}")
    if link:
        (place / "adapter_config.json").symlink_to(kept)
    else:
        kept.rename(place / "adapter_config.json")
    code, out, err = loradex("adapter", "convert", directory, "--to", place)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert (place / "adapter_config.json").read_text() == "{}"
    assert [path.name for path in place.iterdir()] == ["adapter_config.json"]


def test_where_there_are_no_links_the_adapter_is_written_all_the_same(
    loradex: Loradex, make_adapter: MakeAdapter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    directory = with_pickle(make_adapter("old"), saved(weights()))
    assert loradex("adapter", "convert", directory, "--to", tmp_path / "new")[0] == 0
    assert len(content_hash(tmp_path / "new")) == 64
    assert len(list((tmp_path / "new").iterdir())) == 2


def test_a_place_that_takes_no_files_is_one_line(
    loradex: Loradex, make_adapter: MakeAdapter, tmp_path: Path
) -> None:
    directory = with_pickle(make_adapter("old"), saved(weights()))
    (tmp_path / "file").write_text("")
    code, out, err = loradex("adapter", "convert", directory, "--to", tmp_path / "file" / "new")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "name another directory with --to" in err


@pytest.mark.parametrize("meanwhile", ["adapter_config.json", "adapter_model.safetensors"])
def test_what_came_there_meanwhile_stays_and_nothing_half_appears(tmp_path: Path, meanwhile: str) -> None:
    names = ("adapter_config.json", "adapter_model.safetensors")

    def write() -> None:
        with new_files(tmp_path, names) as draft:
            for name in names:
                (draft / name).write_text("new")
            (tmp_path / meanwhile).write_text("theirs")

    with pytest.raises(AdapterRefusedError, match="it is there already"):
        write()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {meanwhile: "theirs"}


def test_an_old_form_is_read_too() -> None:
    assert converted(saved(weights(), _use_new_zipfile_serialization=False)) == converted(saved(weights()))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ([1, 2], "it holds a list"),
        ({"a": 3}, "more than tensors"),
        ({3: torch.zeros(1)}, "more than tensors"),
        ({"a": torch.zeros(2, dtype=torch.int64)}, "torch.int64"),
        ({"a": torch.zeros(2, 2).to_sparse()}, "sparse"),
        ({"a": torch.zeros(1).expand(10**12)}, "more than 1073741824 bytes"),
    ],
)
def test_only_tensors_by_name_are_taken(content: object, reason: str) -> None:
    with pytest.raises(NotWeightsError, match=reason):
        converted(saved(content))


@pytest.mark.parametrize("wrapped", [False, True])
def test_code_is_refused_by_torch_itself(tmp_path: Path, wrapped: bool) -> None:
    mark = tmp_path / "mark"
    raw = saved({"a": RunsCode(mark)}) if wrapped else pickle.dumps(RunsCode(mark), protocol=2)
    with pytest.raises(pickle.UnpicklingError):
        converted(raw)
    assert not mark.exists()


def test_the_process_can_open_connect_and_start_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-c", ATTEMPTS], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.stdout.split() == ["refused"] * 6
