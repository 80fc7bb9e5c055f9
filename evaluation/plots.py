"""Pictures of an evaluation, as PNG files."""

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from loradex.evaluation.cells import Cell
from loradex.evaluation.summary import shares

DOTS_PER_INCH = 110


def heat_map(path: Path, cells: Mapping[str, Cell], title: str) -> None:
    """Mean weight of each adapter (columns) in the answers of each task (rows)."""
    tasks = _by_family(cells)
    cells = {task: cells[task] for task in tasks}
    names = {name for cell in cells.values() for name in cell.mixture}
    adapters = [task for task in tasks if task in names] + sorted(names - set(tasks))
    figure = Figure(figsize=(9, 7.5), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares(cells, adapters, "mixture"), cmap="viridis", vmin=0, vmax=1)
    axes.set_xticks(range(len(adapters)), adapters, rotation=90)
    axes.set_yticks(range(len(tasks)), tasks)
    axes.set_xlabel("adapter")
    axes.set_ylabel("task of the question")
    axes.set_title(title)
    figure.colorbar(image, ax=axes, label="mean weight", shrink=0.8)
    _save(figure, path)


def distributions(path: Path, cells: Mapping[str, Cell], title: str) -> None:
    """For each family, where its questions' neighbours come from: mean probability by task."""
    families = sorted({cell.family for cell in cells.values()})
    tasks = _by_family(cells)
    tasks += sorted({task for cell in cells.values() for task in cell.tasks} - set(tasks))
    figure = Figure(figsize=(9, 2.1 * len(families) + 1.2), layout="constrained")
    panels = figure.subplots(len(families), 1, sharex=True, squeeze=False)[:, 0]
    for axes, family in zip(panels, families, strict=True):
        own = {task: cell for task, cell in cells.items() if cell.family == family}
        means = shares(own, tasks, "tasks").mean(axis=0)
        inside = [task in own for task in tasks]
        axes.bar(range(len(tasks)), means, color=["C0" if mine else "C7" for mine in inside])
        axes.set_ylabel("probability")
        axes.set_title(f"{family} (its own tasks in blue)", fontsize="medium")
    panels[-1].set_xticks(range(len(tasks)), tasks, rotation=90)
    figure.suptitle(title)
    _save(figure, path)


def curves(
    path: Path, series: Mapping[str, Mapping[str, Sequence[tuple[float, float, float, float]]]]
) -> None:
    """A panel an option, a line a setting and method: value, score and its interval, in percent."""
    figure = Figure(figsize=(4.2 * len(series), 4.2), layout="constrained")
    panels = figure.subplots(1, len(series), sharey=True, squeeze=False)[0]
    colours = {
        label: f"C{place}" for place, label in enumerate(sorted({*chain.from_iterable(series.values())}))
    }
    for axes, (option, lines) in zip(panels, series.items(), strict=True):
        for label, points in lines.items():
            values, scores, lows, highs = np.array(points).T
            errors = [scores - lows, highs - scores]
            axes.errorbar(
                values, scores, yerr=errors, marker="o", capsize=3, color=colours[label], label=label
            )
        if option in {"k", "temperature"}:
            axes.set_xscale("log")
        axes.set_xlabel(option)
    panels[0].set_ylabel("mean score of the tasks, %")
    drawn = {
        label: line for axes in panels for line, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(drawn.values(), drawn.keys(), fontsize="small", loc="outside lower center", ncols=4)
    _save(figure, path)


def _by_family(cells: Mapping[str, Cell]) -> list[str]:
    return sorted(cells, key=lambda task: (cells[task].family, task))


def _save(figure: Figure, path: Path) -> None:
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=DOTS_PER_INCH, metadata={"Software": None})
