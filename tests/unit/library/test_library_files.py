import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.fix_library import BASE, ENCODER, CountingEncoder, SmallLibrary

from loradex.errors import LibraryCorruptError
from loradex.library.build import LibrarySpec, build_library, choose_examples
from loradex.library.cards import TaskCard
from loradex.library.load import open_library
from loradex.library.manifest import MANIFEST, card_hash, entry_of, read_manifest, write_manifest
from loradex.library.rendered import RenderedExample
from loradex.library.vector_file import read_vectors


def relist(library: SmallLibrary, name: str) -> None:
    """Make the manifest agree with a changed file, as somebody would who poisons a library with care."""
    manifest = read_manifest(library.directory)
    files = manifest.files | {name: entry_of((library.directory / name).read_bytes())}
    write_manifest(library.directory, manifest.model_copy(update={"files": files}))


def test_a_library_is_read_back_as_it_was_built(
    small_library: SmallLibrary, cards: dict[str, TaskCard]
) -> None:
    library = open_library(small_library.directory, cards)
    assert library.manifest == small_library.manifest
    assert sorted(library.adapters) == ["tools", "weather"]
    assert library.examples.source_refs == [row.source_ref for row in small_library.rows]
    assert library.examples.sha256 == [row.sha256 for row in small_library.rows]
    assert np.allclose(np.linalg.norm(library.examples.vectors, axis=1), 1, atol=1e-3)
    assert library.manifest.examples == {"rivers": 6, "tools": 6, "weather": 6}


def test_no_text_of_an_example_is_in_a_library(small_library: SmallLibrary) -> None:
    files = [path.read_bytes() for path in small_library.directory.rglob("*") if path.is_file()]
    table = pq.read_table(small_library.directory / "examples.parquet")
    for row in small_library.rows:
        words = row.prompt.split("\n")[0].encode()
        assert not any(words in content for content in files)
    assert table.column_names == ["task", "source_ref", "sha256", "embedding"]


def test_building_again_gives_the_same_bytes(
    small_library: SmallLibrary, cards: dict[str, TaskCard], tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(small_library.directory / "adapters", copy / "adapters")
    encoder = CountingEncoder()
    vectors = {row.prompt: encoder.embed([row.prompt])[0] for row in small_library.rows}
    assert (
        build_library(copy, LibrarySpec(BASE, ENCODER, cards), small_library.rows, vectors)
        == small_library.manifest
    )


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_changed_or_truncated_file_is_refused_by_name(
    data: st.DataObject, small_library: SmallLibrary, cards: dict[str, TaskCard]
) -> None:
    name = data.draw(st.sampled_from(sorted(small_library.manifest.files)))
    path = small_library.directory / name
    original = path.read_bytes()
    place = data.draw(st.integers(0, len(original) - 1))
    if data.draw(st.booleans()):
        path.write_bytes(original[:place])
    else:
        flipped = bytes([original[place] ^ data.draw(st.integers(1, 255))])
        path.write_bytes(original[:place] + flipped + original[place + 1 :])
    try:
        with pytest.raises(LibraryCorruptError) as refused:
            open_library(small_library.directory, cards)
        assert str(path) in str(refused.value)
    finally:
        path.write_bytes(original)


def test_a_missing_an_added_and_a_linked_file_are_named(
    small_library: SmallLibrary, cards: dict[str, TaskCard], tmp_path: Path
) -> None:
    directory = small_library.directory
    (directory / "extra.bin").write_bytes(b"x")
    with pytest.raises(LibraryCorruptError, match=r"extra\.bin: not in the manifest"):
        open_library(directory, cards)
    (directory / "extra.bin").unlink()
    (directory / "adapters" / "tools" / "card.json").rename(tmp_path / "card.json")
    with pytest.raises(LibraryCorruptError, match=r"tools/card\.json"):
        open_library(directory, cards)
    (directory / "adapters" / "tools" / "card.json").symlink_to(tmp_path / "card.json")
    with pytest.raises(LibraryCorruptError, match=r"tools/card\.json: a symbolic link"):
        open_library(directory, cards)


def test_swapped_adapters_are_refused(
    small_library: SmallLibrary, cards: dict[str, TaskCard], tmp_path: Path
) -> None:
    one, two = (small_library.directory / "adapters" / task for task in ("tools", "weather"))
    one.rename(tmp_path / "aside")
    two.rename(one)
    (tmp_path / "aside").rename(two)
    with pytest.raises(LibraryCorruptError, match="adapters/"):
        open_library(small_library.directory, cards)


def test_an_adapter_that_was_poisoned_with_the_manifest_is_still_inspected(
    small_library: SmallLibrary, cards: dict[str, TaskCard]
) -> None:
    name = "adapters/tools/adapter_config.json"
    path = small_library.directory / name
    path.write_text(json.dumps({**json.loads(path.read_text()), "use_dora": True}))
    relist(small_library, name)
    with pytest.raises(LibraryCorruptError, match="use_dora is set"):
        open_library(small_library.directory, cards)


def test_another_card_than_the_one_it_was_built_with_is_refused(
    small_library: SmallLibrary, cards: dict[str, TaskCard]
) -> None:
    other = cards["tools"].model_copy(update={"prompt": "Aim: {goal}"})
    with pytest.raises(LibraryCorruptError, match="card of task 'tools'"):
        open_library(small_library.directory, cards | {"tools": other})
    with pytest.raises(LibraryCorruptError, match="'tools' has no task card"):
        open_library(small_library.directory, {name: card for name, card in cards.items() if name != "tools"})


def test_how_a_task_is_trained_does_not_change_what_its_card_says(cards: dict[str, TaskCard]) -> None:
    card = cards["tools"]
    trained = card.model_copy(
        update={"training": card.training.model_copy(update={"epochs": 3}), "source": None}
    )
    assert card_hash(trained) == card_hash(card)
    assert card_hash(card.model_copy(update={"values": {"goal": {"a": "b"}}})) != card_hash(card)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"format": 2}, "format"),
        ({"files": {"../outside": {"sha256": "0" * 64, "bytes": 1}}}, "not a plain path"),
        ({"files": {"/etc/passwd": {"sha256": "0" * 64, "bytes": 1}}}, "not a plain path"),
        ({"files": {"a": {"sha256": "xyz", "bytes": 1}}}, "sha256"),
        (
            {"adapters": {"tools": {"name": "tools", "directory": "a/../..", "sha256": "0" * 64}}},
            "not a plain path",
        ),
        ({"tasks": {}}, "no card hash"),
        ({"surprise": 1}, "surprise"),
        ({"encoder": {"name": "e", "revision": "r", "dimensions": 0}}, "dimensions"),
        ({"encoder": {"name": "e", "revision": "a\0b", "dimensions": 8}}, "the character NUL"),
        (
            {"base_model": {"name": "b", "revision": "r", "context_length": 1 << 31, "frame": ""}},
            "context_length",
        ),
    ],
)
def test_a_malformed_manifest_is_refused(
    small_library: SmallLibrary, change: dict[str, object], reason: str
) -> None:
    path = small_library.directory / MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(LibraryCorruptError, match=reason):
        read_manifest(small_library.directory)


@given(st.binary(max_size=300))
def test_any_bytes_are_no_vector_file(content: bytes) -> None:
    with pytest.raises(LibraryCorruptError, match="not a Parquet file"):
        read_vectors(content, 8, "x")


def table_bytes(vectors: np.ndarray, refs: list[str], dtype: pa.DataType | None = None) -> bytes:
    kind = dtype or pa.float16()
    values = pa.array(vectors.ravel().astype(np.float16)).cast(kind)
    table = pa.table(
        {
            "task": ["t"] * len(refs),
            "source_ref": refs,
            "sha256": pa.array([bytes(32)] * len(refs), pa.binary(32)),
            "embedding": pa.FixedSizeListArray.from_arrays(values, vectors.shape[1]),
        },
    )
    fields = [field.with_nullable(nullable=False) for field in table.schema]
    sink = pa.BufferOutputStream()
    pq.write_table(table.cast(pa.schema(fields)), sink)
    return sink.getvalue().to_pybytes()


UNIT = np.eye(8)[:2]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (table_bytes(UNIT[:, :7], ["a", "b"]), "columns"),
        (table_bytes(UNIT, ["a", "b"], pa.float32()), "columns"),
        (table_bytes(UNIT * 2, ["a", "b"]), "length one"),
        (table_bytes(UNIT * np.nan, ["a", "b"]), "length one"),
        (table_bytes(UNIT, ["a", "a"]), "twice"),
        (table_bytes(UNIT, ["a", "b\0"]), "the character NUL"),
        (table_bytes(UNIT, ["a", "b"])[:-9], "not a Parquet file"),
    ],
)
def test_vectors_that_cannot_be_used_are_refused(content: bytes, reason: str) -> None:
    with pytest.raises(LibraryCorruptError, match=reason):
        read_vectors(content, 8, "x")


rows = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c"]), st.integers(0, 99)), unique=True, max_size=60
).map(lambda keys: [RenderedExample(1, task, f"{task}-{number}", "p", "t") for task, number in keys])


@given(rows, st.integers(1, 10), st.integers(0, 3))
def test_the_draw_is_even_seeded_and_blind_to_order(
    drawn_from: list[RenderedExample], per_task: int, seed: int
) -> None:
    chosen = choose_examples(drawn_from, per_task, seed)
    assert chosen == choose_examples(drawn_from[::-1], per_task, seed)
    for task in ("a", "b", "c"):
        there = sum(row.task == task for row in drawn_from)
        assert sum(row.task == task for row in chosen) == min(per_task, there)
