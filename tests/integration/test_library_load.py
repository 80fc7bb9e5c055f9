"""A library into a real database, its texts filled in, and its adapters looked after."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from pgvector.psycopg import register_vector
from psycopg.pq import TransactionStatus
from tests.fix_adapters import MakeAdapter
from tests.fix_db import RoleUrl
from tests.fix_library import (
    BASE,
    ENCODER,
    CountingEncoder,
    SmallLibrary,
    rivers,
    tools,
    weather,
    write_lines,
)

from loradex.db.session import connect, translate_errors
from loradex.errors import (
    AdapterRefusedError,
    ExampleConflictError,
    ExampleFileError,
    HubUnavailableError,
    InvalidArgumentError,
    LibraryCorruptError,
    LoradexError,
    UnknownNameError,
)
from loradex.library.adapter_check import check_adapter
from loradex.library.adapter_files import inspect
from loradex.library.adapter_roots import AdapterPlace, AdapterRoots
from loradex.library.adapter_store import AdapterStore, Wanted
from loradex.library.affinities import Affinity, write_affinities
from loradex.library.cards import TaskCard
from loradex.library.example_store import ExampleStore
from loradex.library.hub import hydrate_from_hub, load_split
from loradex.library.hydrate import example_files, hydrate_from_file
from loradex.library.ingest import EncoderFacts, Ingest
from loradex.library.load import LoadReport, load_library, open_library
from loradex.library.model_store import ModelStore
from loradex.library.rendered import render_file
from loradex.library.vectors import VectorCache

Connection = psycopg.Connection[tuple[Any, ...]]
Cards = dict[str, TaskCard]


@pytest.fixture
def admin(role_url: RoleUrl) -> Iterator[Connection]:
    with connect(role_url("loradex_admin")) as opened:
        yield opened


@pytest.fixture
def roots(tmp_path: Path) -> AdapterRoots:
    return AdapterRoots.of([tmp_path / "roots"], tmp_path)


def load(connection: Connection, library: SmallLibrary, cards: Cards, roots: AdapterRoots) -> LoadReport:
    with translate_errors():
        return load_library(connection, open_library(library.directory, cards), cards, roots, lambda _: None)


def everything(connection: Connection) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = []
    for query in (
        "select name, version, state, sha256, uri from loradex.adapters order by id",
        "select id, task, source_ref, sha256, prompt, target from loradex.examples order by id",
        "select example_id, encoder, embedding::text from loradex.example_embeddings order by 1",
        "select name, revision, created_at from loradex.base_models",
        "select name, family, card::text from loradex.tasks order by 1",
    ):
        found += connection.execute(query).fetchall()
    return found


def texts(connection: Connection) -> list[tuple[Any, ...]]:
    return connection.execute(
        "select source_ref, prompt, target from loradex.examples order by task, source_ref"
    ).fetchall()


def test_a_library_is_loaded_without_texts_and_twice_changes_nothing(
    admin: Connection, small_library: SmallLibrary, cards: Cards, roots: AdapterRoots
) -> None:
    assert load(admin, small_library, cards, roots) == LoadReport(2, 0, 18, 0)
    before = everything(admin)
    assert load(admin, small_library, cards, roots) == LoadReport(0, 2, 0, 18)
    assert everything(admin) == before
    assert {row[1:] for row in texts(admin)} == {(None, None)}
    register_vector(admin)
    stored = admin.execute(
        "select embedding from loradex.example_embeddings v join loradex.examples e on e.id = v.example_id "
        "order by e.task, e.source_ref"
    ).fetchall()
    halves = np.stack([CountingEncoder().embed([row.prompt])[0] for row in small_library.rows]).astype(
        np.float16
    )
    assert np.array_equal(np.stack([row[0].to_numpy() for row in stored]), halves.astype(np.float32))


def test_affinities_come_with_the_library(
    admin: Connection, small_library: SmallLibrary, cards: Cards, roots: AdapterRoots
) -> None:
    scores = {"rivers": {"tools": Affinity(score=0.25, n=8)}, "tools": {"tools": Affinity(score=1, n=3)}}
    write_affinities(small_library.directory, small_library.manifest, scores)
    for _ in range(2):
        load(admin, small_library, cards, roots)
        assert admin.execute(
            "select f.task, a.name, f.score, f.n from loradex.task_affinities f "
            "join loradex.adapters a on a.id = f.adapter_id order by 1"
        ).fetchall() == [("rivers", "tools", 0.25, 8), ("tools", "tools", 1, 3)]
    store, pair = AdapterStore(admin), ("rivers", small_library.manifest.adapters["tools"].sha256)
    base_model = small_library.manifest.base_model.name
    for there, after in (
        (Affinity(score=0.75, n=64), Affinity(score=0.75, n=64)),
        (Affinity(score=0.75, n=8), Affinity(score=0.75, n=8)),
        (Affinity(score=0.75, n=7), Affinity(score=0.25, n=8)),
    ):
        store.put_affinities(base_model, {pair: there})
        load(admin, small_library, cards, roots)
        assert store.affinities(base_model)[pair] == after, "what was measured on more rows stays"


def test_the_loaded_adapters_are_where_the_database_says(
    admin: Connection, small_library: SmallLibrary, cards: Cards, roots: AdapterRoots
) -> None:
    load(admin, small_library, cards, roots)
    stored = AdapterStore(admin).find()
    assert [(adapter.name, adapter.uri, adapter.state) for adapter in stored] == [
        ("tools", "small/adapters/tools", "active"),
        ("weather", "small/adapters/weather", "active"),
    ]
    for adapter in stored:
        assert inspect(roots.locate(adapter.uri), "tiny-llama").sha256 == adapter.sha256
        assert check_adapter(adapter, roots).fault is None
    assert stored[0].card["seed"] == 1


@pytest.mark.parametrize(
    "name", ["examples.parquet", "adapters/tools/adapter_model.safetensors", "manifest.json"]
)
@pytest.mark.parametrize("damage", ["truncate", "flip", "remove"])
def test_a_damaged_library_is_refused_by_name_before_anything_is_written(
    admin: Connection, small_library: SmallLibrary, cards: Cards, roots: AdapterRoots, name: str, damage: str
) -> None:
    path = small_library.directory / name
    content = path.read_bytes()
    match damage:
        case "truncate":
            path.write_bytes(content[: len(content) // 2])
        case "flip":
            path.write_bytes(
                content.replace(b"e", b"f", 1) if name == "manifest.json" else content[:-1] + b"\x01"
            )
        case _:
            path.unlink()
    before = everything(admin)
    with pytest.raises(LibraryCorruptError, match=path.name):
        load(admin, small_library, cards, roots)
    assert everything(admin) == before


def test_an_example_with_another_text_stops_the_load_and_leaves_nothing(
    admin: Connection, small_library: SmallLibrary, cards: Cards, roots: AdapterRoots, tmp_path: Path
) -> None:
    path = write_lines(tmp_path / "other.jsonl", [tools(3) | {"fields": {"goal": "Another goal."}}])
    ingest(admin, cards, path, tmp_path)
    before = everything(admin)
    with pytest.raises(ExampleConflictError, match="'tools-train-3' of task 'tools'"):
        load(admin, small_library, cards, roots)
    assert everything(admin) == before


def test_a_library_outside_the_roots_is_refused(
    admin: Connection, small_library: SmallLibrary, cards: Cards, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(AdapterRefusedError, match="LORADEX_ADAPTER_ROOTS"):
        load(admin, small_library, cards, AdapterRoots.of([tmp_path / "elsewhere"], tmp_path))


def ingest(connection: Connection, cards: Cards, path: Path, home: Path) -> None:
    facts = EncoderFacts(ENCODER.name, ENCODER.revision, ENCODER.dimensions)
    with VectorCache.of(home, ENCODER.name, ENCODER.revision) as cache, translate_errors():
        files = {path: render_file(path, cards)}
        list(Ingest(connection, cards, facts, CountingEncoder, cache).add_all(files, lambda _: None))


def test_adding_the_source_file_fills_in_the_texts_and_keeps_the_vectors(
    admin: Connection,
    small_library: SmallLibrary,
    cards: Cards,
    roots: AdapterRoots,
    data_directory: Path,
    tmp_path: Path,
) -> None:
    load(admin, small_library, cards, roots)
    vectors = admin.execute(
        "select embedding::text from loradex.example_embeddings order by example_id"
    ).fetchall()
    ingest(admin, cards, data_directory / "tools.train.jsonl", tmp_path)
    assert [row for row in texts(admin) if row[1] is not None] == [
        (row.source_ref, row.prompt, row.target) for row in small_library.rows if row.task == "tools"
    ]
    after = admin.execute(
        "select embedding::text from loradex.example_embeddings order by example_id"
    ).fetchall()
    assert after == vectors


def test_texts_are_filled_in_from_local_files(
    admin: Connection, small_library: SmallLibrary, cards: Cards, roots: AdapterRoots, data_directory: Path
) -> None:
    load(admin, small_library, cards, roots)
    write_lines(data_directory / "tools.test.jsonl", [tools(99)])
    write_lines(data_directory / "more.jsonl", [rivers(77)])
    reports = [hydrate_from_file(admin, path, cards) for path in example_files(data_directory)]
    assert [(report.source, report.filled, report.not_needed) for report in reports] == [
        ("more.jsonl", 0, 1),
        ("rivers.train.jsonl", 6, 0),
        ("tools.train.jsonl", 6, 0),
        ("weather.train.jsonl", 6, 0),
    ]
    assert texts(admin) == [(row.source_ref, row.prompt, row.target) for row in small_library.rows]
    assert sum(hydrate_from_file(admin, path, cards).filled for path in example_files(data_directory)) == 0


def test_a_wrong_text_is_refused_and_nothing_of_its_file_is_filled_in(
    admin: Connection, small_library: SmallLibrary, cards: Cards, roots: AdapterRoots, tmp_path: Path
) -> None:
    load(admin, small_library, cards, roots)
    other_answer = weather(4) | {"label": 1}
    path = write_lines(tmp_path / "wrong.jsonl", [weather(0), weather(1), other_answer])
    with pytest.raises(ExampleFileError, match=r"wrong\.jsonl:3: .*'weather-train-4'"):
        hydrate_from_file(admin, path, cards)
    assert {row[1] for row in texts(admin)} == {None}


def test_the_database_itself_refuses_a_text_of_another_hash(
    admin: Connection, small_library: SmallLibrary, cards: Cards, roots: AdapterRoots
) -> None:
    load(admin, small_library, cards, roots)
    with pytest.raises(psycopg.errors.CheckViolation):
        admin.execute(
            "update loradex.examples set prompt = 'forged', target = 'yes' where source_ref = 'tools-train-1'"
        )


def test_a_directory_without_examples_is_said(tmp_path: Path) -> None:
    with pytest.raises(ExampleFileError, match="no examples file"):
        example_files(tmp_path)


def _weather_row(number: int, end: str = "") -> dict[str, Any]:
    """The premise stands in two columns there, the label is a number of the hub's own."""
    return {
        "what": "It rained",
        "how_long": f"for {number} days.{end}",
        "second": f"The river rose in week {number}.",
        "label": -1,
    }


class Hub:
    """Stands in for the hub: data sets of the cards' shapes, with rows in an order of their own."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None, str]] = []

    def __call__(self, dataset: str, config: str | None, split: str) -> Iterable[dict[str, Any]]:
        self.asked.append((dataset, config, split))
        match dataset, split:
            case "someone/weather", "train":
                return [_weather_row(number) for number in (5, 3, 1, 0)]
            case "someone/weather", "validation":
                return [_weather_row(number, end=" \n") for number in (2, 4)]
            case "someone/tools", "train":
                rows = [tools(number) for number in range(5)]
                return [
                    {"question": {"text": row["fields"]["goal"]}, "choices": {"text": row["choices"]}}  # type: ignore[index]
                    for row in rows
                ] + [{"question": None, "choices": {}}]
            case "someone/rivers", "train":
                rows = [rivers(number) for number in range(6)]
                return [
                    {"question": row["fields"]["question"], "answer": {"aliases": row["answers"]}}  # type: ignore[index]
                    for row in rows
                ]
        raise AssertionError((dataset, split))


def test_texts_are_filled_in_from_the_hub_by_hash(
    admin: Connection, small_library: SmallLibrary, cards: Cards, roots: AdapterRoots
) -> None:
    load(admin, small_library, cards, roots)
    hub = Hub()
    filled = {name: hydrate_from_hub(admin, card, hub).filled for name, card in cards.items()}
    assert filled == {"rivers": 6, "tools": 5, "weather": 6}
    assert hub.asked == [
        ("someone/rivers", None, "train"),
        ("someone/tools", "plain", "train"),
        ("someone/weather", None, "train"),
        ("someone/weather", None, "validation"),
    ]
    expected = [
        (row.source_ref, None, None)
        if row.source_ref == "tools-train-5"
        else (row.source_ref, row.prompt, row.target)
        for row in small_library.rows
    ]
    assert texts(admin) == expected


def test_no_transaction_is_open_while_the_hub_is_asked(
    admin: Connection, small_library: SmallLibrary, cards: Cards, roots: AdapterRoots
) -> None:
    """A download may take minutes. What another fills in meanwhile stays, and is counted by whoever did it."""
    load(admin, small_library, cards, roots)
    hub, states, others = Hub(), list[TransactionStatus](), list[int]()

    def ask(dataset: str, config: str | None, split: str) -> Iterable[dict[str, Any]]:
        states.append(admin.info.transaction_status)
        others.append(hydrate_from_hub(admin, cards["rivers"], hub).filled)
        return hub(dataset, config, split)

    assert hydrate_from_hub(admin, cards["rivers"], ask).filled == 0
    assert (others, states) == ([6], [TransactionStatus.IDLE])
    assert ExampleStore(admin).textless(["rivers"]) == {}


def test_a_task_that_waits_for_no_text_does_not_ask_the_hub(admin: Connection, cards: Cards) -> None:
    hub = Hub()
    assert hydrate_from_hub(admin, cards["tools"], hub).filled == 0
    assert hydrate_from_hub(admin, cards["tools"].model_copy(update={"source": None}), hub).filled == 0
    assert hub.asked == []


def test_the_datasets_package_reads_files_of_the_same_shape(
    admin: Connection,
    small_library: SmallLibrary,
    cards: Cards,
    roots: AdapterRoots,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The real loading code on a local data set: the hub's id is a directory here."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "hf" / "datasets")
    directory = tmp_path / "weather_set"
    directory.mkdir()
    hub = Hub()
    for split in ("train", "validation"):
        write_lines(directory / f"{split}.jsonl", list(hub("someone/weather", None, split)))
    card = cards["weather"]
    assert card.source is not None
    local = card.model_copy(update={"source": card.source.model_copy(update={"dataset": str(directory)})})
    load(admin, small_library, cards, roots)
    assert hydrate_from_hub(admin, local, load_split).filled == 6


def test_a_hub_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    with pytest.raises(HubUnavailableError, match=r"someone/nothing \(train\) does not come from the hub"):
        load_split("someone/nothing", None, "train")


def at(uri: str, name: str = "fixer", task: str = "tools") -> Wanted:
    return Wanted(name, task, AdapterPlace("/roots", uri))


@pytest.fixture
def store(admin: Connection, cards: Cards) -> AdapterStore:
    ExampleStore(admin).put_tasks(cards.values())
    ModelStore(admin).put_base_model(BASE)
    return AdapterStore(admin)


def test_a_new_version_retires_the_old_one_and_can_be_taken_back(
    store: AdapterStore, make_adapter: MakeAdapter
) -> None:
    one, two = (inspect(make_adapter(f"roots/v{seed}", seed=seed), "tiny-llama") for seed in (1, 2))
    first = store.register(one, at("v1"))
    second = store.register(two, at("v2"))
    again = store.register(one, at("v1"))
    assert [(entry.version, entry.state, entry.created) for entry in (first, second, again)] == [
        (1, "active", True),
        (2, "active", True),
        (1, "retired", False),
    ]
    store.set_state("fixer", 1, "active")
    assert [(a.version, a.state) for a in store.find("fixer")] == [(1, "active"), (2, "retired")]
    assert [a.version for a in store.find(states=["active"])] == [1]
    assert store.get("fixer").version == 2
    assert store.get("fixer", 1).sha256 == one.sha256


def test_unknown_names_are_said(store: AdapterStore, make_adapter: MakeAdapter) -> None:
    facts = inspect(make_adapter(), "tiny-llama")
    with pytest.raises(UnknownNameError, match="loradex adapter list"):
        store.get("nobody")
    with pytest.raises(UnknownNameError, match="loradex up"):
        store.require_base_model("gpt-9")
    for wrong, task in ((facts, "cooking"), (replace(facts, base_model="gpt-9"), "tools")):
        with pytest.raises(UnknownNameError), translate_errors():
            store.register(wrong, at("x", task=task))
    with pytest.raises(LoradexError), translate_errors():
        store.set_state("nobody", 1, "active")
    with pytest.raises(InvalidArgumentError), translate_errors():
        store.register(facts, at("x", name="../x"))


def test_verifying_names_what_changed(
    store: AdapterStore, make_adapter: MakeAdapter, roots: AdapterRoots
) -> None:
    directory = make_adapter("roots/fixer")
    store.register(inspect(directory, "tiny-llama"), Wanted("fixer", "tools", roots.place(directory)))
    adapter = store.get("fixer")
    assert check_adapter(adapter, roots).fault is None
    config = directory / "adapter_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "lora_alpha": 5}))
    fault = check_adapter(adapter, roots).fault
    assert fault is not None
    assert "adapter_config.json" in fault
    assert "safetensors" not in fault
    config.unlink()
    assert "adapter_config.json" in (check_adapter(adapter, roots).fault or "")
    directory.rename(directory.parent / "moved")
    assert "no such directory" in (check_adapter(adapter, roots).fault or "")
