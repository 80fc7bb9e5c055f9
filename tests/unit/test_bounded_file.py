"""Whatever a file holds, and whatever it says it holds, reading it takes no more memory than its bound."""

import io
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loradex.bounded_file import bounded_bytes, bounded_lines, bounded_text
from loradex.errors import LoradexError
from loradex.evaluation.cells import read_cells
from loradex.evaluation.wordings import load_wordings
from loradex.library.cards import load_card, load_cards
from loradex.library.chat_template import own_template
from loradex.library.example_file import load_examples
from loradex.service.audit.archive import Archive
from loradex.service.cli.ask import schema_in

MIB = 1 << 20
CARDS = load_cards()


@given(st.binary(max_size=40), st.integers(0, 40))
def test_a_file_is_all_of_it_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, most: int
) -> None:
    path = tmp_path_factory.mktemp("bounded") / "file"
    path.write_bytes(content)
    if len(content) <= most:
        assert bounded_bytes(path, most) == content
    else:
        with pytest.raises(OSError, match="may have"):
            bounded_bytes(path, most)


@given(st.text("ab\n", max_size=40), st.integers(1, 40), st.integers(1, 40))
def test_lines_are_those_of_the_stream_up_to_the_bounds(content: str, most: int, together: int) -> None:
    found: list[str] = []
    try:
        found.extend(bounded_lines(io.StringIO(content), most, together))
    except OSError:
        assert len(content) > together or max(map(len, content.splitlines(keepends=True))) > most
    else:
        assert "".join(found) == content
    assert content.startswith("".join(found))
    assert all(len(line) <= most for line in found)


def named(path: Path, name: str) -> Path:
    """The file under another name, as a link."""
    path.with_name(name).symlink_to(path)
    return path.with_name(name)


DOORS: dict[str, Callable[[Path], object]] = {
    "examples, JSON lines": lambda path: load_examples(named(path, "rte.train.jsonl"), CARDS),
    "examples, CSV": lambda path: load_examples(named(path, "rte.train.csv"), CARDS),
    "a task card": lambda path: load_card(named(path, "card.toml")),
    "tasks in wordings": lambda path: load_wordings(named(path, "wordings.toml").parent),
    "an archive": lambda path: Archive.at(named(path, "archive.json").parent),
    "a record of an evaluation": read_cells,
    "a chat template": lambda path: own_template(path.parent, path),
    "a schema": lambda path: schema_in(str(path)),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("kind", ["sparse", "endless"])
def test_no_door_reads_more_than_it_may(tmp_path: Path, door: str, kind: str) -> None:
    path = tmp_path / "given"
    if kind == "sparse":
        with path.open("wb") as stream:
            stream.truncate(30 << 30)
    else:
        path.symlink_to("/dev/zero")
    tracemalloc.start()
    try:
        with pytest.raises(LoradexError) as refusal:
            DOORS[door](path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 40 * MIB
    assert len(str(refusal.value)) < 1000


def test_a_file_of_somebody_else_is_not_cut(tmp_path: Path) -> None:
    """A record without its last line's end goes on; notes of a person do not lose theirs."""
    notes = tmp_path / "notes.txt"
    notes.write_text("what I found\nand did not")
    with pytest.raises(LoradexError, match="not a cell"):
        read_cells(notes)
    assert notes.read_text() == "what I found\nand did not"
    torn = tmp_path / "record.jsonl"
    torn.write_text('{"setting": "in-dom')
    assert read_cells(torn) == []
    assert bounded_text(torn, 100) == '{"setting": "in-dom'
