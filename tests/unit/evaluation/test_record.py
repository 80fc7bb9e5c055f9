"""What of a record counts when an evaluation goes on."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from tests.unit.evaluation.test_summary import ORIGIN, cell

from loradex.evaluation.cells import Cell, read_cells
from loradex.evaluation.origin import Asked, Origin
from loradex.evaluation.plan import IN_DOMAIN, Case, Options
from loradex.evaluation.record import Record
from loradex.library.cards import TaskCard, Training
from loradex.library.examples import Example

DEFAULTS: dict[str, float] = {"density": 0.5, "k": 32, "temperature": 0.1, "top_p": 0.9}
NOW = Origin("test", None, "float32", "0" * 64, "model", "encoder", "{prompt}", "in-process", DEFAULTS)
ASKED = Asked("card", "rows")
CARD = TaskCard(name="colours", family="sight", metric="exact_match", prompt="{text}")
ROW = Example(
    id="colours-1",
    task="colours",
    family="sight",
    fields={"text": "red?"},
    choices=None,
    label=None,
    answers=["yes"],
)


def case(method: str, **options: float) -> Case:
    return Case(IN_DOMAIN, method, Options(**options))  # type: ignore[arg-type]


def measured(path: Path, one: Case, origin: Origin = NOW) -> Cell:
    """A cell of the case, put on record."""
    new = replace(
        cell(one.method, "rte", "0101"),
        options=one.options.given(),
        origin=origin.of_case(one),
        card=ASKED.card,
        asked=ASKED.rows,
    )
    Record(path, origin).add(new)
    return new


def found(path: Path, one: Case, origin: Origin = NOW, asked: Asked = ASKED) -> Cell | None:
    return Record(path, origin).find(one, "rte", asked, generated=False)


@pytest.mark.parametrize("method", ["base", "centroid", "cat", "ties", "affinity_magnitude_prune"])
def test_a_default_counts_where_the_method_reads_it_and_the_case_gives_none(
    tmp_path: Path, method: str
) -> None:
    path = tmp_path / "cells.jsonl"
    there, given = measured(path, case(method)), measured(path, case(method, k=64))
    reads = {"base": "", "centroid": "", "cat": "k top_p temperature"}.get(
        method, "k top_p temperature density"
    ).split()
    for name in DEFAULTS:
        other = replace(NOW, defaults=DEFAULTS | {name: 0.7})
        assert (found(path, case(method), other) is None) == (name in reads)
        assert (found(path, case(method, k=64), other) is None) == (name in reads and name != "k")
    assert (found(path, case(method)), found(path, case(method, k=64))) == (there, given)


@pytest.mark.parametrize("name", ["dtype", "library", "base_model", "encoder", "frame", "mode", "marks"])
def test_a_figure_of_another_origin_does_not_count_and_that_is_said(tmp_path: Path, name: str) -> None:
    path = tmp_path / "cells.jsonl"
    measured(path, case("cat"))
    other = replace(NOW, **{name: "other"})
    assert found(path, case("cat"), other) is None
    assert "1 figures there do not count here" in Record(path, other).told_of_others()
    assert ", other)" in Record(path, other).told_of_others()
    assert Record(path, NOW).told_of_others() == ""


def test_other_rows_or_another_card_are_measured_anew_and_a_file_that_is_gone_is_no_other(
    tmp_path: Path,
) -> None:
    path = tmp_path / "cells.jsonl"
    there = measured(path, case("cat"))
    assert found(path, case("cat"), asked=Asked("card", "more rows")) is None
    assert found(path, case("cat"), asked=Asked("another card", None)) is None
    assert found(path, case("cat"), asked=Asked("card", None)) == there


def test_a_record_of_earlier_code_is_read_and_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "cells.jsonl"
    line = asdict(cell("cat", "rte", "0101"))
    line = {name: value for name, value in line.items() if name not in {"card", "asked"}}
    line["origin"] = {name: line["origin"][name] for name in ("rows", "limit", "dtype", "library")}
    path.write_text(json.dumps(line) + "\n")
    assert read_cells(path) == [cell("cat", "rte", "0101")]
    assert read_cells(path)[0].origin == ORIGIN
    assert found(path, case("cat")) is None
    assert "unlike base models (not said, model)" in Record(path, NOW).told_of_others()


def test_hashes_tell_what_is_asked_and_not_how_adapters_are_trained() -> None:
    asked = Asked.of(CARD, [ROW])
    assert Asked.of(CARD.model_copy(update={"training": Training(epochs=9)}), [ROW]) == asked
    assert Asked.of(CARD.model_copy(update={"prompt": "Q: {text}"}), [ROW]).card != asked.card
    other = ROW.model_copy(update={"answers": ["no"]})
    assert len({asked.rows, Asked.of(CARD, [other]).rows, Asked.of(CARD, [ROW, other]).rows}) == 3
    assert Asked.of(CARD, None) == Asked(asked.card, None)
