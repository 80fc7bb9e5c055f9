"""`loradex audit`: the hash chain of answers, its head and its truth."""

from typing import Annotated

import typer

from loradex import terminal

app = typer.Typer(add_completion=False)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.command()
def head(as_json: AsJson = False) -> None:
    """Print the newest link of the chain, to be kept where nobody can change it.

    Example: loradex audit head >> /mnt/write-once/loradex-heads
    """
    from loradex.addresses import database_address
    from loradex.service.audit import Audit
    from loradex.service.settings import ServiceSettings

    with Audit.at(database_address(ServiceSettings())) as audit:
        newest = audit.head()
    if as_json:
        terminal.as_json(None if newest is None else newest.as_dict())
    else:
        typer.echo("no answers yet" if newest is None else newest.chain_hash)


@app.command()
def verify(
    head: Annotated[
        str | None, typer.Option(help="A head that was kept: it must still be in the chain.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Walk the chain and name every broken link; exit code 1 if there is one.

    Example: loradex audit verify --head "$(tail -1 /mnt/write-once/loradex-heads)"
    """
    from loradex.addresses import database_address
    from loradex.service.audit import Audit
    from loradex.service.settings import ServiceSettings

    with Audit.at(database_address(ServiceSettings())) as audit:
        cut = None if head is None else audit.missing(head)
        with terminal.waiting("walking the chain"):
            broken = [*audit.breaks()] + ([] if cut is None else [cut])
        length = audit.length()
    if as_json:
        terminal.as_json(
            {"answers": length, "intact": not broken, "broken": [one.as_dict() for one in broken]}
        )
    elif broken:
        rows = [(one.position, one.answer_id, one.reason) for one in broken]
        terminal.table(("position", "answer", "what is wrong"), rows)
    else:
        typer.echo(f"intact: {length} answers")
    if broken:
        raise typer.Exit(1)
