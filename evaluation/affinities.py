"""`python -m evaluation.affinities`: the program behind `loradex library affinities`."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from db.errors import InvalidArgumentError, LoradexError
from db.session import translated
from evaluation.plan import IN_DOMAIN, Plan
from evaluation.progress import progress
from evaluation.session import Session
from library.affinities import Affinity, write_affinities
from library.cards import TASKS_DIRECTORY, chosen_cards, load_cards
from library.manifest import read_manifest
from worker.settings import WorkerSettings

app = typer.Typer(add_completion=False)


@app.command()
def affinities(
    *,
    data: Annotated[Path, typer.Option(help="Directory of TASK.train.jsonl files.")],
    rows: Annotated[int, typer.Option(help="Rows a task.")] = 128,
    task: Annotated[list[str] | None, typer.Option(help="This task only; may be given again.")] = None,
    again: Annotated[bool, typer.Option(help="Measure known pairs too.")] = False,
    library: Annotated[Path | None, typer.Option(help="Library that keeps the figures.")] = None,
    cards: Annotated[Path, typer.Option(help="Directory of task cards.")] = TASKS_DIRECTORY,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a pair.")] = False,
) -> None:
    """Measure how well each active adapter answers each task."""
    try:
        if library is not None and task:
            raise InvalidArgumentError("--library keeps the figures of all tasks; leave --task out")
        chosen = chosen_cards(load_cards(cards), task)
        manifest = None if library is None else read_manifest(library)
        plan = Plan(chosen, data, (IN_DOMAIN,), (), None, held_out=True)
        scores: dict[str, dict[str, Affinity]] = {name: {} for name in chosen}
        names = {entry.sha256: name for name, entry in manifest.adapters.items()} if manifest else {}
        with (
            translated(),
            Session(WorkerSettings(), plan, None, in_process=True) as session,
            progress(len(chosen) * len(session.active_adapters())) as advance,
        ):
            for name, adapter, affinity in session.affinities(rows, again=again):
                advance(f"{name} {adapter.name}", 1)
                if adapter.sha256 in names:
                    scores[name][names[adapter.sha256]] = affinity
                if as_json:
                    line = {"task": name, "adapter": adapter.name, **affinity.model_dump()}
                    sys.stdout.write(json.dumps(line) + "\n")
        if library is not None and manifest is not None:
            write_affinities(library, manifest, scores)
    except LoradexError as error:
        sys.stderr.write(f"loradex: {error}\n")
        raise typer.Exit(error.exit_code) from None


if __name__ == "__main__":
    app()
