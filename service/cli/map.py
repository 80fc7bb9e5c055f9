"""`loradex map`: the examples in two dimensions, as the explorer draws them."""

from dataclasses import asdict
from typing import Annotated

import typer

from loradex import terminal

app = typer.Typer(add_completion=False, help="The map of the examples that the explorer draws.")


@app.callback()
def _group() -> None:
    """The map of the examples that the explorer draws."""


@app.command()
def build(
    encoder: Annotated[
        str | None, typer.Option(help="Whose vectors are drawn; that of jobs that name none if not given.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Do not compare the examples with each other.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Draw the map anew: where each example lies (PCA), its near duplicates, and what is filed under a wrong task.

    The examples are compared with each other, which takes minutes where there are many. Examples that are added later
    are not on the map until it is built again.

    Example: loradex map build
    """
    from loradex.addresses import database_address
    from loradex.db.session import connect, translate_errors
    from loradex.library.projection import project
    from loradex.service.settings import ServiceSettings

    settings = ServiceSettings()
    with translate_errors(), connect(database_address(settings)) as connection:
        made = project(connection, encoder or settings.encoder, compared=not quick)
    if as_json:
        terminal.as_json(asdict(made))
        return
    terminal.say(
        f"{made.examples} examples of {made.encoder} are on the map; it shows {made.explained:.0%} of how they differ"
    )
    if quick:
        terminal.say("near duplicates were not looked for")
        return
    terminal.say(f"{made.near_duplicates} are near duplicates, {made.mislabelled} look like another task's")
