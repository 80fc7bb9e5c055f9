"""`loradex library`: tasks, adapters and example vectors that come together."""

from pathlib import Path
from typing import Annotated

import typer

from loradex import terminal
from loradex.library.card_option import OUR_CARDS, Cards

app = typer.Typer(add_completion=False, help="A library of tasks, adapters and example vectors.")

MIB = 1 << 20

Directory = Annotated[
    Path | None, typer.Argument(help="The library. [default: the starter library]", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.command()
def load(
    directory: Directory = None,
    cards: Cards = OUR_CARDS,
    move: Annotated[
        bool, typer.Option("--move", help="Look here for adapters that are registered at another place.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check every file of a library, then put it into the database, all of it or nothing; again does no harm.

    Example: loradex library load
    """
    from dataclasses import asdict

    from loradex.addresses import database_address
    from loradex.db.session import connect, translate_errors
    from loradex.library.adapter_store import AdapterStore
    from loradex.library.cards import load_cards
    from loradex.library.installed import starter_library
    from loradex.library.load import load_library, open_library
    from loradex.service.settings import ServiceSettings
    from loradex.terminal import counting

    settings = ServiceSettings()
    known = load_cards(cards)
    library = open_library(directory or starter_library(), known)
    own = settings.roots()
    with (
        translate_errors(),
        connect(database_address(settings)) as connection,
        counting("example vectors", len(library.examples)) as advance,
    ):
        announced = AdapterStore(connection).announced_roots(library.manifest.base_model.name)
        report = load_library(connection, library, known, own.joined(announced), advance, move=move)
    if as_json:
        terminal.as_json(asdict(report))
        return
    elsewhere = f", {report.adapters_elsewhere} of them at another place" if report.adapters_elsewhere else ""
    terminal.say(
        f"adapters: {report.adapters_added} added, {report.adapters_present} there already{elsewhere}; "
        f"examples: {report.examples_added} added, {report.examples_present} there already"
    )
    if elsewhere and not move:
        terminal.complain("those are looked for where they are registered; --move has them looked for here")


@app.command()
def verify(directory: Directory = None, cards: Cards = OUR_CARDS, as_json: AsJson = False) -> None:
    """Check every file of a library against its manifest, without a database.

    Example: loradex library verify
    """
    from loradex.library.cards import load_cards
    from loradex.library.installed import starter_library
    from loradex.library.load import open_library

    library = open_library(directory or starter_library(), load_cards(cards))
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
        terminal.as_json({"adapters": rows, "examples": len(library.examples), "bytes": manifest.total_bytes})
        return
    terminal.table(
        ("task", "content hash", "rank", "dtype", "MiB", "update norm", "examples"),
        [
            (
                task,
                facts.sha256[:12],
                facts.rank,
                facts.dtype,
                f"{facts.bytes / MIB:.2f}",
                f"{facts.update_norm:.2f}",
                manifest.examples.get(task, 0),
            )
            for task, facts in adapters.items()
        ],
    )
    terminal.say(
        f"{len(adapters)} adapters, {len(library.examples)} example vectors, {len(manifest.files)} files: "
        f"all hashes right; {manifest.total_bytes / MIB:.1f} MiB"
    )
