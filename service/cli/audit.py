"""`loradex audit`: the hash chain of answers, its head and its truth."""

from typing import TYPE_CHECKING, Annotated

import typer

from loradex import terminal

if TYPE_CHECKING:
    from loradex.service.audit import Checked

app = typer.Typer(add_completion=False)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.command()
def head(as_json: AsJson = False) -> None:
    """Print the newest link of the chain, to be kept where nobody can change it; exit code 1 if there is none.

    Example: loradex audit head >> /mnt/write-once/loradex-heads
    """
    from loradex.addresses import database_address
    from loradex.service.audit import Audit
    from loradex.service.settings import ServiceSettings

    with Audit.at(database_address(ServiceSettings())) as audit:
        newest = audit.head()
    if newest is None:
        terminal.complain("loradex: there are no answers yet, and so there is no head to keep")
        raise typer.Exit(1)
    if as_json:
        terminal.as_json(newest.as_dict())
    else:
        terminal.say(newest.chain_hash)


@app.command()
def verify(
    head: Annotated[
        list[str] | None,
        typer.Option(help="A head that was kept: it must still be in the chain. May be repeated."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compute every hash anew and name what is wrong; exit code 1 if anything is.

    Nothing is believed that the database could say in its own favour: rows are read as they lie and hashed here,
    and its functions, triggers and grants are compared with this release. Needs no more than loradex_reader may.

    Example: loradex audit verify --head "$(tail -1 /mnt/write-once/loradex-heads)"
    """
    from loradex.addresses import database_address
    from loradex.service.audit import Audit
    from loradex.service.audit.head import hash_of
    from loradex.service.settings import ServiceSettings

    heads = head or []
    for one in heads:
        hash_of(one)
    with Audit.at(database_address(ServiceSettings())) as audit:
        with terminal.counting("answers", audit.length()) as passed:
            broken = list(audit.breaks(heads, passed))
        checked = audit.checked
    if as_json:
        found = [one.as_dict() for one in broken]
        terminal.as_json({**checked.as_dict(), "heads": len(heads), "intact": not broken, "broken": found})
    else:
        if broken:
            rows = [(one.position, one.answer_id, one.reason) for one in broken]
            terminal.table(("position", "answer", "what is wrong"), rows)
        else:
            erased = f", {checked.erased} of them erased" if checked.erased else ""
            terminal.say(f"intact: {checked.answers} answers{erased}")
        terminal.say(_account(checked, len(heads)))
    if broken:
        raise typer.Exit(1)


def _account(checked: "Checked", heads: int) -> str:
    return (
        f"checked: {checked.answers} answers, hashed here; {checked.functions} functions and {checked.triggers} "
        f"triggers, compared with this release; {heads} heads"
    )
