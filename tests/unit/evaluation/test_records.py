"""Records of several runs on one page."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from tests.unit.evaluation.test_summary import ORIGIN, cell

from loradex.errors import InvalidArgumentError
from loradex.evaluation.cells import Cell
from loradex.evaluation.plan import UNSEEN
from loradex.evaluation.records import beside, read_together
from loradex.evaluation.report import write_report

OTHER_LIBRARY = replace(ORIGIN, library="1" * 64)
MORE_ROWS = replace(ORIGIN, limit=300)
HELD_OUT = replace(ORIGIN, rows="held-out", limit=12)


def write(path: Path, cells: Sequence[Cell]) -> None:
    path.write_text("".join(json.dumps(asdict(one)) + "\n" for one in cells))


def trained() -> list[Cell]:
    return [
        replace(
            cell(method, task, right), mixture={"rte": 0.75, "snli": 0.25}, tasks={"rte": 0.5, "snli": 0.5}
        )
        for method, right in (("base", "0101"), ("own", "1111"), ("cat", "0111"))
        for task in ("rte", "snli")
    ]


def unseen() -> list[Cell]:
    return [
        replace(cell(method, f"sick.{wording}", right, setting=UNSEEN), origin=MORE_ROWS)
        for method, right in (("base", "000100"), ("affinity_calibrated_cat", "111101"))
        for wording in ("card", "chat", "flan")
    ]


def test_tasks_with_adapters_and_unseen_ones_share_a_page_whatever_their_rows(tmp_path: Path) -> None:
    write(tmp_path / "cells.jsonl", trained())
    write(tmp_path / "unseen.jsonl", unseen())
    page = write_report(tmp_path, read_together(tmp_path)).read_text()
    head = "2 tasks, all test rows each and 1 unseen tasks in 3 wordings, at most 300 test rows each; float32"
    assert head in page
    assert page.index("## in-domain") < page.index("## unseen") < page.index("### Beyond noise, unseen")
    assert "| affinity_calibrated_cat | base | +66.7" in page


def test_a_case_in_two_records_counts_once_as_in_the_later(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", trained())
    write(tmp_path / "b.jsonl", [cell("cat", "rte", "0000")])
    cells = read_together(tmp_path)
    assert len(cells) == 6
    assert [one.score for one in cells if one.method == "cat"] == [0, 0.75]


@pytest.mark.parametrize(
    ("origin", "why"),
    [
        (OTHER_LIBRARY, "unlike libraries"),
        (replace(ORIGIN, dtype="bfloat16"), r"unlike number formats \(float32, bfloat16\)"),
        (MORE_ROWS, r"unlike limits of rows \(all, 300\)"),
    ],
)
def test_what_may_not_be_compared_is_refused(tmp_path: Path, origin: object, why: str) -> None:
    write(tmp_path / "a.jsonl", trained())
    write(tmp_path / "b.jsonl", [replace(cell("ties", "rte", "0000"), origin=origin)])
    with pytest.raises(InvalidArgumentError, match=f"a.jsonl and .*b.jsonl have {why}.*; move one away"):
        read_together(tmp_path)


def test_a_directory_without_test_rows_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "sweep.jsonl", [replace(cell("cat", "rte", "0101"), origin=HELD_OUT)])
    with pytest.raises(
        InvalidArgumentError, match=r"no record .* of test rows there; measure with --data first"
    ):
        read_together(tmp_path)


def test_beside_new_cells_stand_those_of_the_same_library_and_as_many_rows() -> None:
    swept = replace(cell("cat", "rte", "0101"), origin=HELD_OUT)
    old = [
        replace(cell("ties", "rte", "0000"), origin=OTHER_LIBRARY),
        replace(cell("ties", "rte", "0000"), origin=MORE_ROWS),
        cell("cat", "rte", "0000"),
        swept,
        *unseen(),
    ]
    stand = beside(trained(), old, ORIGIN)
    assert len(stand) == len([*trained(), swept, *unseen()])
    assert all(one in stand for one in [*trained(), swept, *unseen()])


def test_a_line_that_a_killed_run_had_begun_is_left_out(tmp_path: Path) -> None:
    """So the command that made the directory goes on there, and so does a page of it."""
    write(tmp_path / "cells.jsonl", trained())
    with (tmp_path / "cells.jsonl").open("a") as record:
        record.write('{"setting": "in-dom')
    assert len(read_together(tmp_path)) == len(trained())


def test_what_was_measured_anew_takes_the_place_of_the_old_in_its_record(tmp_path: Path) -> None:
    """Until all of it was, the record has two origins and is refused."""
    known = replace(ORIGIN, base_model="model", defaults={})
    anew = [replace(one, right="1111", origin=known) for one in trained()]
    write(tmp_path / "cells.jsonl", [*trained(), *anew[:-1]])
    with pytest.raises(
        InvalidArgumentError, match=r"cells.jsonl: its figures have unlike base models .model, not said"
    ):
        read_together(tmp_path)
    write(tmp_path / "cells.jsonl", [*trained(), *anew])
    assert read_together(tmp_path) == anew


def test_figures_of_unlike_defaults_or_rows_are_refused(tmp_path: Path) -> None:
    known = replace(ORIGIN, base_model="model", defaults={"k": 32, "top_p": 0.9})
    here = [replace(one, origin=known, card="card", asked="rows") for one in trained()]
    write(
        tmp_path / "a.jsonl",
        [replace(one, origin=replace(known, defaults={})) for one in here[:4]] + here[4:],
    )
    ties = replace(here[0], method="ties")
    for other, why in (
        (
            replace(ties, origin=replace(known, defaults={"k": 64, "density": 0.5})),
            r"unlike defaults \(.*k 32.*k 64",
        ),
        (replace(ties, asked="others"), "unlike rows or cards of rte"),
        (replace(ties, card="another"), "unlike rows or cards of rte"),
    ):
        write(tmp_path / "b.jsonl", [other])
        with pytest.raises(InvalidArgumentError, match=why):
            read_together(tmp_path)
        assert other not in beside(here, [other], known)
    write(tmp_path / "b.jsonl", [ties])
    assert ties in read_together(tmp_path)
    assert ties in beside(here, [ties], known)
