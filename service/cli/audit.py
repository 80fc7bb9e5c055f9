"""`loradex audit`: the hash chain of answers, its head and its truth."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loradex import terminal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loradex.service.audit import Checked
    from loradex.service.audit.archive import Archive
    from loradex.service.audit.finding import Finding

app = typer.Typer(add_completion=False)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.command()
def head(
    anchor: Annotated[bool, typer.Option("--anchor", help="Keep it wherever LORADEX_ANCHOR says.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print the newest link of the chain, to be kept where nobody can change it; exit code 1 if there is none.

    With --anchor it is kept at every address of LORADEX_ANCHOR, which blanks separate; exit code 1 if one fails.

    Example: loradex audit head --anchor
    """
    from loradex.addresses import database_address
    from loradex.errors import AnchorError, InvalidArgumentError
    from loradex.service.audit import Audit
    from loradex.service.audit.anchors import anchors
    from loradex.service.settings import ServiceSettings

    settings = ServiceSettings()
    named = anchors(settings.anchor_urls())
    if anchor and not named:
        raise InvalidArgumentError("LORADEX_ANCHOR names no place; see SECURITY.md, keeping heads")
    with Audit.at(database_address(settings)) as audit:
        newest = audit.head()
    if newest is None:
        terminal.complain("loradex: there are no answers yet, and so there is no head to keep")
        raise typer.Exit(1)
    failed = 0
    for place in named if anchor else []:
        try:
            place.keep(newest)
        except AnchorError as error:
            failed += 1
            terminal.complain(f"loradex: {error}")
    if as_json:
        terminal.as_json(newest.as_dict())
    else:
        terminal.say(newest.chain_hash)
    if failed:
        raise typer.Exit(1)


@app.command()
def verify(
    head: Annotated[
        list[str] | None,
        typer.Option(help="A head that was kept: it must still be in the chain. May be repeated."),
    ] = None,
    archive: Annotated[
        list[Path] | None,
        typer.Option(
            help="A directory that `loradex archive` wrote; give all of them, or the newest. Repeatable."
        ),
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Look at the archives alone, without the database.")
    ] = False,
    note: Annotated[
        bool, typer.Option("--note", help="If all is intact, note that for monitors, in the database.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Compute every hash anew and name what is wrong; exit code 1 if anything is.

    Nothing is believed that the database could say in its own favour: rows are read as they lie and hashed here,
    and its functions, triggers and grants are compared with this release. All heads that LORADEX_ANCHOR leads to
    must be in the chain. Those that lie in an archive are looked for when it is named with --archive, and counted
    otherwise. Needs no more than loradex_reader may.

    With --note the time is noted (loradex.note_verification) if nothing is wrong, and only then: before, nobody
    knows whether that function is ours.

    With --offline only what was archived is looked at: its hashes and files, its end, and that the heads are in it.
    The hashes of the newest archive's files are in the database alone.

    Example: loradex audit verify
    """
    from loradex.addresses import database_address
    from loradex.errors import InvalidArgumentError
    from loradex.service.audit import Audit, anchored
    from loradex.service.audit.anchors import anchors
    from loradex.service.audit.head import hash_of
    from loradex.service.settings import ServiceSettings

    settings = ServiceSettings()
    heads = head or []
    for one in heads:
        hash_of(one)
    archives = _archives(archive or [])
    if offline:
        if note:
            raise InvalidArgumentError("--note is about the database, which --offline does not look at")
        _verify_offline(archives, heads, as_json=as_json)
        return
    kept = anchored.read(anchors(settings.anchor_urls()))
    count = len(heads) + len(kept.heads)
    with Audit.at(database_address(settings)) as audit:
        with terminal.counting("answers", audit.length() + sum(one.answers for one in archives)) as passed:
            broken = [*kept.findings, *audit.breaks(heads, passed, archives, kept.heads)]
        checked, newest = audit.checked, audit.head()
    if note and not broken:
        _note(database_address(settings), newest.position if newest is not None else 0)
    if as_json:
        found = [one.as_dict() for one in broken]
        summary = {"heads": count, "anchors": kept.anchors, "intact": not broken, "broken": found}
        terminal.as_json({**checked.as_dict(), **summary})
    else:
        if broken:
            _show(broken)
        else:
            erased = f", {checked.erased} of them erased" if checked.erased else ""
            terminal.say(f"intact: {checked.answers} answers{erased}")
        terminal.say(_account(checked, count))
    if broken:
        raise typer.Exit(1)


def _verify_offline(archives: "Sequence[Archive]", heads: "Sequence[str]", *, as_json: bool) -> None:
    from loradex.errors import InvalidArgumentError
    from loradex.service.audit.head import hash_of

    if not archives:
        raise InvalidArgumentError("--offline looks at archives: name their directories with --archive")
    from loradex.service.audit.archive import findings

    answers = sum(one.answers for one in archives)
    with terminal.counting("answers", answers) as passed:
        broken = list(findings(archives, [hash_of(one) for one in heads], passed))
    if as_json:
        found = [one.as_dict() for one in broken]
        terminal.as_json({"answers": answers, "heads": len(heads), "intact": not broken, "broken": found})
    elif broken:
        _show(broken)
    else:
        terminal.say(f"intact: {answers} answers in {len(archives)} archives; {len(heads)} heads")
    if broken:
        raise typer.Exit(1)


def _note(url: str, position: int) -> None:
    """Say in the database that the chain was found intact; where that fails, the check counts all the same."""
    from loradex.db.session import connect, translate_errors
    from loradex.errors import LoradexError

    try:
        with translate_errors(), connect(url) as connection:
            connection.execute("select loradex.note_verification(%s)", (position,))
    except LoradexError as error:
        terminal.complain(f"loradex: the check was not noted: {error}")


def _show(broken: "Sequence[Finding]") -> None:
    rows = [(one.position, one.answer_id, one.reason) for one in broken]
    terminal.table(("position", "answer", "what is wrong"), rows)


def _archives(directories: "Sequence[Path]") -> "list[Archive]":
    """What was archived, oldest first; only this needs pyarrow."""
    if not directories:
        return []
    from loradex.service.audit.archive import Archive

    return sorted(map(Archive.at, directories), key=lambda one: one.first_position)


def _account(checked: "Checked", heads: int) -> str:
    inside = checked.heads_in_archives
    unlooked = f", {inside} of them in archives, not looked for (--archive)" if inside else ""
    return (
        f"checked: {checked.answers} answers, hashed here; {checked.functions} functions and {checked.triggers} "
        f"triggers, compared with this release; {heads} heads{unlooked}"
    )
