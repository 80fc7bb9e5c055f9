"""The analyst's notebook: it runs from its first cell to its last, and what is committed is what it draws."""

import base64
import os
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from tests.fix_db import with_user
from tests.repository import ROOT

NOTEBOOK = ROOT / "docs" / "analysis.ipynb"
IMAGES = ROOT / "docs" / "images"
DRAWN = {"task-map", "mixture-map", "coverage-over-time", "what-if-sweep", "task-overlap"}
LIMIT_BYTES = 600_000
IMAGE_LIMIT_BYTES = 150_000


def read() -> Any:
    return nbformat.read(NOTEBOOK, as_version=4)


def pictures(notebook: Any) -> dict[str, bytes]:
    """The PNG of every cell that draws one, by the cell's id."""
    return {
        cell.id: base64.b64decode(output.data["image/png"])
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    }


@pytest.fixture(scope="module")
def executed(starter: str) -> Any:
    """The notebook after a run as a reader, without any output that is committed."""
    notebook = read()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("LORADEX_")},
        "LORADEX_DATABASE_URL": with_user(starter, "loradex_reader"),
        "OMP_NUM_THREADS": "1",
    }
    client = NotebookClient(notebook, timeout=240, kernel_name="python3")
    return client.execute(env=environment)


def test_it_draws_every_picture_and_complains_of_nothing(executed: Any) -> None:
    assert pictures(executed).keys() == DRAWN
    kinds = {output.output_type for cell in executed.cells for output in cell.get("outputs", [])}
    assert kinds == {"display_data", "execute_result"}, "a stream is a warning"


def test_it_sees_the_library(executed: Any) -> None:
    """Tasks, examples, adapters and answers are as many as in the committed notebook."""
    fresh, kept = (
        next(cell for cell in notebook.cells if cell.id == "connect").outputs[0].data["text/plain"]
        for notebook in (executed, read())
    )
    assert fresh == kept
    assert "10651" in fresh


def test_what_is_committed_has_its_outputs_and_is_small() -> None:
    notebook = read()
    assert NOTEBOOK.stat().st_size < LIMIT_BYTES
    assert pictures(notebook).keys() == DRAWN
    assert [cell.id for cell in notebook.cells if cell.cell_type == "code" and not cell.execution_count] == []


def test_pictures_elsewhere_are_the_notebooks() -> None:
    drawn = pictures(read())
    for file in IMAGES.glob("*.png"):
        if file.stem in drawn:
            assert file.read_bytes() == drawn[file.stem], f"copy it from the notebook: {file.name}"
            assert file.stat().st_size < IMAGE_LIMIT_BYTES
    assert used(ROOT / "README.md") <= {file.name for file in IMAGES.glob("*.png")}


def used(page: Path) -> set[str]:
    """The files of docs/images a page shows."""
    return {part.split(")")[0] for part in page.read_text(encoding="utf-8").split("(docs/images/")[1:]}
