"""Draws the dashboard's panels for a page: `python -m loradex.benchmarks.panels PROMETHEUS FILE`.

Grafana is not in a registry that is reached here. The queries are the dashboard's own; how they look is not.
"""

import argparse
import json
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import dates
from matplotlib.axes import Axes
from matplotlib.figure import Figure

DASHBOARD = (
    Path(str(files("loradex.benchmarks"))).resolve().parent / "deploy" / "monitoring" / "dashboard.json"
)
COLUMNS = 3
POINTS = 120
RATE_INTERVAL = "1m"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("prometheus", help="its address, such as http://127.0.0.1:9090")
    parser.add_argument("file", type=Path, help="the picture, a PNG")
    parser.add_argument("--seconds", type=int, default=600, help="how far back")
    told = parser.parse_args()
    mpl.use("agg")
    drawn(told.prometheus, told.seconds).savefig(told.file, dpi=70, metadata={"Software": None})


def drawn(prometheus: str, seconds: int) -> Figure:
    """All panels that show series, in the dashboard's order."""
    panels = [
        one for one in json.loads(DASHBOARD.read_text())["panels"] if one["type"] in {"timeseries", "heatmap"}
    ]
    lines = -(-len(panels) // COLUMNS)
    figure = Figure(figsize=(6.2 * COLUMNS, 2.9 * lines), layout="constrained")
    axes = figure.subplots(lines, COLUMNS).flatten()
    for panel, place in zip(panels, axes, strict=False):
        _panel(place, panel, prometheus, seconds)
    for place in axes[len(panels) :]:
        place.axis("off")
    return figure


def _panel(place: Axes, panel: Mapping[str, Any], prometheus: str, seconds: int) -> None:
    place.set_title(panel["title"], fontsize=10)
    place.tick_params(labelsize=7)
    place.grid(visible=True, alpha=0.3)
    for target in panel["targets"]:
        for labels, times, values in _series(prometheus, target["expr"], seconds):
            legend = target.get("legendFormat") or "{{le}}"
            for name, value in labels.items():
                legend = legend.replace("{{" + name + "}}", value)
            place.plot(times, values, label=legend[:32], linewidth=1.2)  # type: ignore[arg-type]
    if place.lines:
        place.legend(fontsize=6, loc="upper left", ncols=2, framealpha=0.5)
    place.set_ylim(bottom=0)
    place.xaxis.set_major_formatter(dates.DateFormatter("%H:%M"))  # type: ignore[no-untyped-call]


def _series(
    prometheus: str, query: str, seconds: int
) -> Iterator[tuple[Mapping[str, str], list[datetime], list[float]]]:
    now = time.time()
    asked = urllib.parse.urlencode(
        {
            "query": query.replace("$__rate_interval", RATE_INTERVAL),
            "start": now - seconds,
            "end": now,
            "step": max(1, seconds // POINTS),
        }
    )
    with urllib.request.urlopen(f"{prometheus}/api/v1/query_range?{asked}", timeout=30) as answer:  # noqa: S310
        found = json.load(answer)["data"]["result"]
    for one in found:
        yield (
            one["metric"],
            [datetime.fromtimestamp(at, UTC) for at, _ in one["values"]],
            [float(value) for _, value in one["values"]],
        )


if __name__ == "__main__":
    main()
