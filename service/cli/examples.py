"""`loradex examples`: what retrieval looks through."""

from pathlib import Path
from typing import Annotated

import typer

from loradex import terminal
from loradex.library.card_option import OUR_CARDS, Cards

app = typer.Typer(add_completion=False, help="Examples that decide which task a prompt is like.")

HUB = "hub"


@app.command()
def hydrate(
    source: Annotated[str, typer.Option("--from", help="A directory of .jsonl or .csv files, or `hub`.")],
    task: Annotated[list[str] | None, typer.Option(help="This task only; may be given again.")] = None,
    cards: Cards = OUR_CARDS,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Fill in the texts of examples that came as vectors only; each must have the hash that was shipped.

    Example: loradex examples hydrate --from data
    """
    from loradex.addresses import database_address
    from loradex.db.session import connect, translate_errors
    from loradex.errors import UnknownNameError
    from loradex.library.cards import load_cards
    from loradex.library.example_store import ExampleStore
    from loradex.library.hub import hydrate_from_hub
    from loradex.library.hydrate import example_files, hydrate_from_file
    from loradex.service.settings import ServiceSettings
    from loradex.terminal import counting

    known = load_cards(cards)
    chosen = {name: card for name, card in known.items() if not task or name in task}
    if len(chosen) < len(task or []):
        raise UnknownNameError(
            f"no task card for {', '.join(sorted(set(task or []) - known.keys()))} in {cards}"
        )
    with translate_errors(), connect(database_address(ServiceSettings())) as connection:
        if source == HUB:
            with counting("tasks", len(chosen)) as advance:
                reports = []
                for card in chosen.values():
                    reports.append(hydrate_from_hub(connection, card))
                    advance(1)
        else:
            files = example_files(Path(source))
            with counting("files", len(files)) as advance:
                reports = []
                for path in files:
                    reports.append(hydrate_from_file(connection, path, known))
                    advance(1)
        waiting = len(ExampleStore(connection).textless(list(known)))
    filled = sum(report.filled for report in reports)
    if as_json:
        terminal.as_json({"filled": filled, "waiting": waiting})
    else:
        terminal.say(f"{filled} texts filled in, {waiting} examples still without text")


@app.command()
def count(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON list.")] = False,
) -> None:
    """Count examples by family and task: all, those with text, those with a vector.

    Example: loradex examples count
    """
    from loradex.addresses import database_address
    from loradex.db.session import connect, translate_errors
    from loradex.library.defaults import chosen
    from loradex.library.example_store import ExampleStore
    from loradex.library.model_store import ModelStore
    from loradex.service.settings import ServiceSettings

    settings = ServiceSettings()
    with translate_errors(), connect(database_address(settings)) as connection:
        encoder = chosen(settings, "encoder", ModelStore(connection))
        rows = ExampleStore(connection).counts(encoder)
    columns = ("family", "task", "examples", "with_text", "with_vector")
    if as_json:
        terminal.as_json([dict(zip(columns, row, strict=True)) for row in rows])
        return
    sums = [sum(column) for column in zip(*(row[2:] for row in rows), strict=True)] or [0, 0, 0]
    terminal.table([name.replace("_", " ") for name in columns], [*rows, ("", "all", *sums)])
