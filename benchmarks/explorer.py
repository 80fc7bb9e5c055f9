"""The explorer in a real Chromium: first paint, tables of many answers, sliders, the map, bytes of a page."""

import argparse
import shutil
import statistics
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, LiteralString

import psycopg
from tests.serving import serving

from loradex.benchmarks.answers import copy, database, fill
from loradex.benchmarks.frame import Measure, Options, finish
from loradex.db.session import connect
from loradex.library.projection import project
from loradex.service.explorer.answers_sql import COUNTED, LOOKED
from loradex.service.explorer.rows import Reader
from loradex.service.explorer.server import application

if TYPE_CHECKING:
    from playwright.sync_api import Page

PAINT_MS, SLIDER_MS, TABLE_MS, MAP_MS, FRAME_MS, PAGE_BYTES = 300, 100, 300, 2_000, 34, 700_000
"""A frame of 34 ms is one of 30 in a second."""

WRITTEN = 2_000
"""Answers that are written as workers write them; the others are copies of these."""

POINTS = 100_000
ENCODER = "all-MiniLM-L6-v2"
SETTINGS = Options(json=True, rounds=1, threads=1, device="cpu", dtype="float32")
TOKEN = "for-benchmarks-only"  # noqa: S105 - of a server that ends with this program
PAINT = """new Promise(done => new PerformanceObserver(list => {
    const found = list.getEntriesByName('first-contentful-paint');
    if (found.length) done(found[0].startTime);
}).observe({ type: 'paint', buffered: true }))"""
SERVED = "performance.getEntriesByType('navigation')[0].responseEnd"
BYTES = """[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
    .reduce((sum, one) => sum + one.encodedBodySize, 0)"""
SLIDE = """value => new Promise(done => {
    const slider = document.querySelector('input[type=range][aria-label^="k,"]');
    const began = performance.now();
    const painted = () => requestAnimationFrame(() => setTimeout(() => done(performance.now() - began)));
    new MutationObserver((_, watch) => { watch.disconnect(); painted(); })
        .observe(document.querySelector('main'), { childList: true });
    slider.value = value;
    slider.dispatchEvent(new Event('input', { bubbles: true }));
})"""
FRAMES = """() => new Promise(done => {
    const canvas = document.querySelector('canvas'), keys = ['ArrowRight', 'ArrowUp', 'ArrowLeft', 'ArrowDown'];
    const frames = [];
    let last = null;
    function frame(now) {
        if (last !== null) frames.push(now - last);
        last = now;
        if (frames.length === 100) return done(frames);
        canvas.dispatchEvent(new KeyboardEvent('keydown', { key: keys[frames.length % 4] }));
        requestAnimationFrame(frame);
    }
    requestAnimationFrame(frame);
})"""
"""Milliseconds from frame to frame while the map is moved in each of them."""

FACETS = (
    "[...document.querySelectorAll('section.facet')].map(one => one.querySelector('a').getAttribute('href'))"
)
RARE = ("/answers?adapter=none", "/answers?finish=length", "/answers?finish=choice", "/answers?domain=out")
"""Filters that no answer, or hardly one, is like: all that a filter looks at is looked at."""

DRAWN = "performance.getEntriesByName('drawn')[0].startTime"
REDRAWN = "Number(document.querySelector('canvas').dataset.milliseconds)"
SCATTERED: tuple[LiteralString, ...] = (
    "set session_replication_role = replica",
    """
    insert into loradex.projected_examples
    select 100000000 + n, p.encoder, p.task, p.x + random_normal(0, 0.02), p.y + random_normal(0, 0.02), n % 50 = 0,
           null
    from generate_series(1, %(more)s) n
    join (select *, row_number() over (order by example_id) as place from loradex.projected_examples) p
      on p.place = 1 + n % (select count(*) from loradex.projected_examples)""",
    """
    update loradex.projections set examples = (select count(*) from loradex.projected_examples),
        reach = (select max(greatest(abs(x), abs(y))) from loradex.projected_examples)""",
    "reset session_replication_role",
    "analyze loradex.projected_examples",
)
"""Points near those of real examples: what a map of many reads and draws, without the vectors."""


def scatter(connection: psycopg.Connection[Any], points: int) -> None:
    """Draw the map of the starter library, and points around its own until there are so many."""
    made = project(connection, ENCODER, compared=False)
    for statement in SCATTERED:
        connection.execute(statement.replace("%(more)s", str(points - made.examples)).encode())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    parser.add_argument("--answers", type=int, default=1_000_000, help="(default %(default)s)")
    parser.add_argument("--database", help="a database that has as many already, instead of a new one")
    parser.add_argument("--rounds", type=int, default=15, help="loads of each page (default %(default)s)")
    asked = parser.parse_args()
    with database() if asked.database is None else nullcontext(asked.database) as url:
        with connect(url) as connection:
            if asked.database is None:
                fill(connection, min(asked.answers, WRITTEN))
                copy(connection, asked.answers)
            scatter(connection, POINTS)
        # The owner's login: what it may do makes no difference to what reading costs.
        with serving(lambda: application(Reader(url), TOKEN)) as address:
            measures = _measured(address, asked.rounds, asked.answers)
    notes = [
        f"{asked.answers} answers with 32 neighbours before the starter library, in one Postgres, nothing else asked",
        f"{WRITTEN} of them were written as workers do, the others are copies of an older time",
        f"a filter looks through {LOOKED} answers at once, what stands beside the table is counted over {COUNTED}",
        "filters: medians of 5 loads each; frames: 100, in each of which the map is moved by a key",
        "medians; pages are loaded with a warm server and a warm cache of static files, as the second click is",
        "the edge of the domain was found before: the first table of a server waits for it once in ten minutes",
    ]
    finish("explorer", Options(**{**SETTINGS.__dict__, "json": asked.json}), measures, None, notes)


def _measured(address: str, rounds: int, answers: int) -> list[Measure]:
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - what follows needs it, and `--help` does not

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(f"{address}/sign-in?token={TOKEN}")
        weight = _bytes(page, f"{address}/answers")
        table, table_served = _loads(page, f"{address}/answers", rounds)
        filtered, filtered_served = _loads(page, f"{address}/answers?domain=in&since=24h", rounds)
        page.goto(f"{address}/answers")
        facets = {one: _loads(page, f"{address}{one}", 5)[1] for one in (*page.evaluate(FACETS), *RARE)}
        page.goto(f"{address}/answers")
        answer = page.get_attribute("table.listed tbody a >> nth=0", "href")
        weight = max(weight, _bytes(page, f"{address}{answer}"))
        painted, answer_served = _loads(page, f"{address}{answer}", rounds)
        page.goto(f"{address}/map")
        page.locator("#drawn", has_text="drawn").wait_for()
        maps = []
        for _ in range(rounds):
            page.goto(f"{address}/map")
            page.locator("#drawn", has_text="drawn").wait_for()
            maps.append(float(page.evaluate(DRAWN)))
        page.focus("canvas")
        frames = page.evaluate(FRAMES)
        redrawn, map_weight = page.evaluate(REDRAWN), page.evaluate(BYTES)
        page.goto(f"{address}{answer}".replace("/answers/", "/what-if/"))
        slides = [page.evaluate(SLIDE, 4 + number % 60) for number in range(1, 3 * rounds)]
        browser.close()
    return [
        _measure(PAINT_MS, painted, "first paint of an answer", served_ms=answer_served),
        _measure(PAINT_MS, table, f"first paint of the table over {answers} answers", served_ms=table_served),
        _measure(
            TABLE_MS, filtered_served, f"the same with a filter over {answers}, served", painted_ms=filtered
        ),
        _measure(
            TABLE_MS,
            max(facets.values()),
            f"the slowest of {len(facets)} filters, one of each facet and some like no answer, served",
            **facets,
        ),
        _measure(
            MAP_MS, statistics.median(maps), f"a map of {POINTS} examples is drawn", drawn_again_ms=redrawn
        ),
        _measure(
            FRAME_MS,
            statistics.median(frames),
            f"from frame to frame while a map of {POINTS} is moved",
            p95_ms=statistics.quantiles(frames, n=20)[-1],
            most_ms=max(frames),
        ),
        _measure(
            SLIDER_MS,
            statistics.median(slides),
            "from a slider of what-if to the picture",
            p95_ms=statistics.quantiles(slides, n=20)[-1],
            most_ms=max(slides),
        ),
        Measure(
            ratio=round(PAGE_BYTES / max(weight, map_weight), 2),
            bar=1.0,
            what=f"bytes of the heaviest page with all its files against {PAGE_BYTES}",
            sides={"bytes": max(weight, map_weight), "without_the_map_bytes": weight},
        ),
    ]


def _measure(bar: float, milliseconds: float, what: str, **more: float) -> Measure:
    return Measure(
        ratio=round(bar / milliseconds, 2),
        bar=1.0,
        what=f"{what}, against {bar:g} ms",
        sides={"ours_ms": round(milliseconds, 1), **{name: round(one, 1) for name, one in more.items()}},
    )


def _loads(page: "Page", address: str, rounds: int) -> tuple[float, float]:
    """Milliseconds to the first paint and to the last byte, medians."""
    paints, served = [], []
    for _ in range(rounds):
        page.goto(address)
        paints.append(float(page.evaluate(PAINT)))
        served.append(float(page.evaluate(SERVED)))
    return statistics.median(paints), statistics.median(served)


def _bytes(page: "Page", address: str) -> int:
    page.goto(address)
    return int(page.evaluate(BYTES))


if __name__ == "__main__":
    main()
