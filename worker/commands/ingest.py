"""`loradex examples add`: files of examples into the database, with their vectors."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from loradex import terminal
from loradex.library.card_option import OUR_CARDS, Cards


def add(
    files: Annotated[
        list[Path], typer.Argument(help="Files of examples: JSON lines, or CSV.", exists=True, dir_okay=False)
    ],
    task: Annotated[str | None, typer.Option(help="Refuse rows of any other task.")] = None,
    cards: Cards = OUR_CARDS,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON list.")] = False,
) -> None:
    """Check files of examples, embed what is new and copy it in; a file is added whole or not at all.

    Example: loradex examples add data/rte.train.jsonl --task rte
    """
    from loradex.addresses import database_address
    from loradex.db.session import connect, translate_errors
    from loradex.library.cards import load_cards
    from loradex.library.defaults import readable_encoder
    from loradex.library.ingest import Ingest, check_files
    from loradex.library.model_store import ModelStore
    from loradex.library.vectors import VectorCache
    from loradex.worker.settings import WorkerSettings

    settings = WorkerSettings()
    known = load_cards(cards)
    checked = check_files(files, known, task)
    # Seconds that a bad file need not wait for.
    from loradex.worker.encoders import encoder_at, encoder_facts

    with translate_errors(), connect(database_address(settings)) as connection:
        name = readable_encoder(settings, ModelStore(connection))
        directory, facts = encoder_facts(settings.model_copy(update={"encoder": name}))
        with (
            VectorCache.of(settings.home, facts.name, facts.revision) as vectors,
            terminal.counting("examples", sum(len(rows) for rows in checked.values())) as advance,
        ):
            adding = Ingest(connection, known, facts, encoder_at(directory), vectors)
            reports = list(adding.add_all(checked, advance))
    if as_json:
        terminal.as_json([asdict(report) for report in reports])
        return
    for report in reports:
        completed = f", {report.completed} completed" if report.completed else ""
        terminal.say(f"{report.file.name}: {report.added} added, {report.present} there already{completed}")
