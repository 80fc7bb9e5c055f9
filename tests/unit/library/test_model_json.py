"""A JSON file of a model is read whole and one way only, or refused on one line that names it."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from loradex.confined import confined
from loradex.errors import ModelRefusedError
from loradex.library import model_json
from loradex.library.base_model_files import read_base_model
from loradex.library.chat_template import chat_frame
from loradex.library.encoder_files import hidden_size, read_encoder
from loradex.library.model_files import SOURCE, is_conversion
from loradex.library.model_json import MAX_BYTES, read_json, read_object

MALFORMED = [
    (b'{"a": "\xff"}', "not UTF-8"),
    (b"{'a': 1}", "not JSON: "),
    (b"", "not JSON: "),
    (b"[" * 200_000, "not JSON: "),
    (b'{"a": {"b": 1, "c": 2, "b": 3}}', "not JSON: the key 'b' stands twice"),
    (b" " * MAX_BYTES + b"{}", f"more than {MAX_BYTES} bytes"),
]
READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "base model": ("config.json", lambda place: read_base_model(place, "m", "{prompt}")),
    "chat template": ("tokenizer_config.json", partial(chat_frame, confined)),
    "encoder": ("modules.json", read_encoder),
    "transformer": ("config.json", hidden_size),
}


@pytest.mark.parametrize(("content", "reason"), MALFORMED)
@pytest.mark.parametrize("reader", READERS)
def test_every_reader_refuses_what_is_malformed(
    tmp_path: Path, reader: str, content: bytes, reason: str
) -> None:
    name, read = READERS[reader]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelRefusedError) as refused:
        read(tmp_path)
    assert str(refused.value).startswith(f"{tmp_path / name}: {reason}")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("content", "reason"), MALFORMED)
def test_a_note_of_a_conversion_that_is_malformed_is_none(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    (tmp_path / SOURCE).write_bytes(content)
    assert not is_conversion(tmp_path), reason


def test_what_is_no_file_is_refused_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.json")
    with pytest.raises(ModelRefusedError, match=r"config\.json: not a regular file$"):
        read_json(tmp_path / "config.json")
    with pytest.raises(ModelRefusedError, match=r"other\.json: no such file; name the directory"):
        read_json(tmp_path / "other.json")


def test_a_link_is_followed_and_the_largest_file_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_json, "MAX_BYTES", 10)
    (tmp_path / "blob").write_text('{"a": [1]}')
    (tmp_path / "config.json").symlink_to(tmp_path / "blob")
    assert read_object(tmp_path / "config.json") == {"a": [1]}
    (tmp_path / "blob").write_text('{"a": [1]} ')
    with pytest.raises(ModelRefusedError, match="more than 10 bytes"):
        read_object(tmp_path / "config.json")


def test_an_object_is_asked_for_where_only_an_object_helps(tmp_path: Path) -> None:
    (tmp_path / "modules.json").write_text("[1]")
    assert read_json(tmp_path / "modules.json") == [1]
    with pytest.raises(ModelRefusedError, match="not a JSON object"):
        read_object(tmp_path / "modules.json")
