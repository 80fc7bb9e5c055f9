"""`loradex library`: tasks, adapters and example vectors that come together."""

from pathlib import Path
from typing import Annotated

import typer

from db.settings import REPOSITORY
from library.cards import TASKS_DIRECTORY

app = typer.Typer(add_completion=False, help="A library of tasks, adapters and example vectors.")

STARTER = REPOSITORY / "library" / "smollm2-135m-instruct"
MIB = 1 << 20

Directory = Annotated[Path, typer.Argument(help="The library.")]
Cards = Annotated[Path, typer.Option(help="Directory of task cards.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.command()
def load(directory: Directory = STARTER, cards: Cards = TASKS_DIRECTORY, as_json: AsJson = False) -> None:
    """Check every file of a library, then put it into the database, all of it or nothing; again does no harm.

    Example: loradex library load
    """
    from dataclasses import asdict

    from db.embedded.addresses import database_address
    from db.session import connect, translated
    from library.adapter_roots import AdapterRoots
    from library.cards import load_cards
    from library.load import load_library, open_library
    from service.cli.console import as_json as print_json
    from service.cli.progress import counting
    from service.settings import ServiceSettings

    settings = ServiceSettings()
    known = load_cards(cards)
    library = open_library(directory, known)
    roots = AdapterRoots.of(settings.adapter_roots, settings.home)
    with (
        translated(),
        connect(database_address(settings)) as connection,
        counting("example vectors", len(library.examples)) as advance,
    ):
        report = load_library(connection, library, known, roots, advance)
    if as_json:
        print_json(asdict(report))
        return
    typer.echo(
        f"adapters: {report.adapters_added} added, {report.adapters_present} there already; "
        f"examples: {report.examples_added} added, {report.examples_present} there already"
    )


@app.command()
def verify(directory: Directory = STARTER, cards: Cards = TASKS_DIRECTORY, as_json: AsJson = False) -> None:
    """Check every file of a library against its manifest, without a database.

    Example: loradex library verify
    """
    from library.cards import load_cards
    from library.load import open_library
    from service.cli.console import as_json as print_json
    from service.cli.console import table

    library = open_library(directory, load_cards(cards))
    manifest = library.manifest
    adapters = library.adapters
    if as_json:
        rows = [
            {
                "task": task,
                "sha256": facts.sha256,
                "rank": facts.rank,
                "dtype": facts.dtype,
                "bytes": facts.bytes,
                "update_norm": facts.update_norm,
                "examples": manifest.examples.get(task, 0),
            }
            for task, facts in adapters.items()
        ]
        print_json({"adapters": rows, "examples": len(library.examples), "bytes": manifest.total_bytes})
        return
    table(
        ("task", "content hash", "rank", "dtype", "MiB", "update norm", "examples"),
        [
            (
                task,
                facts.sha256,
                facts.rank,
                facts.dtype,
                f"{facts.bytes / MIB:.2f}",
                f"{facts.update_norm:.2f}",
                manifest.examples.get(task, 0),
            )
            for task, facts in adapters.items()
        ],
    )
    typer.echo(
        f"{len(adapters)} adapters, {len(library.examples)} example vectors, {len(manifest.files)} files: "
        f"all hashes right; {manifest.total_bytes / MIB:.1f} MiB"
    )


@app.command()
def affinities(
    *,
    data: Annotated[
        Path, typer.Option(help="Directory of TASK.train.jsonl files.", exists=True, file_okay=False)
    ],
    rows: Annotated[int, typer.Option(min=1, help="Rows a task, none of which was trained on.")] = 128,
    task: Annotated[list[str] | None, typer.Option(help="This task only; may be given again.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Measure known pairs too.")] = False,
    library: Annotated[Path | None, typer.Option(help="Keep the figures in this library, too.")] = None,
    cards: Cards = TASKS_DIRECTORY,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a pair.")] = False,
) -> None:
    """Measure how well each active adapter answers each task; the method `affinity` weighs adapters by it.

    Pairs that were measured are not measured again, so after a new adapter only its own are. It needs a stack
    (`loradex up`); the figures are in loradex.task_affinities.

    Example: loradex library affinities --data data
    """
    import subprocess
    import sys

    command = [sys.executable, "-m", "evaluation.affinities", "--data", str(data), "--cards", str(cards)]
    command += ["--rows", str(rows)]
    for name in task or []:
        command += ["--task", name]
    command += ["--library", str(library)] if library is not None else []
    command += [flag for flag, given in {"--again": again, "--json": as_json}.items() if given]
    raise typer.Exit(subprocess.run(command, check=False).returncode)
