"""`loradex erase`: take texts and vectors out of jobs and answers, for good."""

from typing import Annotated
from uuid import UUID

import typer

from loradex import terminal


def erase(
    reason: Annotated[str, typer.Option(help="Why; it is kept in the chain for ever, so name nobody.")],
    by: Annotated[str, typer.Option(help="Who wants it; kept as well.")],
    job: Annotated[list[UUID] | None, typer.Option(help="A job. May be repeated.")] = None,
    owner: Annotated[
        str | None, typer.Option(help="All jobs of this login, by its name or by its id as an owner.")
    ] = None,
    owner_id: Annotated[
        int | None, typer.Option(min=1, help="The same by the id alone, where --owner fits several.")
    ] = None,
    before: Annotated[
        str | None, typer.Option(help="All jobs from before this day, such as 2026-01-31.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Erase what was asked and answered: prompts, choices, texts, tokens, vectors. It cannot be undone.

    What is given together must all be true of a job. Jobs that are not answered yet are ended. The rest of the
    evidence stays, the chain stays intact, and a note in it says what was erased, why and for whom. Archives and
    backups are not touched. Needs the role of an administrator.

    Example: loradex erase --owner alice --reason "asked to be forgotten" --by "privacy team"
    """
    from datetime import UTC, datetime

    from loradex.addresses import database_address
    from loradex.db.session import connect, translate_errors
    from loradex.errors import InvalidArgumentError
    from loradex.service.audit import erasing
    from loradex.service.settings import ServiceSettings

    if not job and owner is None and owner_id is None and before is None:
        raise InvalidArgumentError("say what to erase: --job, --owner or --before")
    if owner is not None and owner_id is not None:
        raise InvalidArgumentError("give --owner or --owner-id, not both")
    try:
        moment = None if before is None else datetime.fromisoformat(before)
    except ValueError:
        raise InvalidArgumentError(f"{before} is not a day: write it as 2026-01-31") from None
    if moment is not None and moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)

    with translate_errors(), connect(database_address(ServiceSettings())) as connection:
        whose = None
        if owner is not None:
            whose = erasing.owner_called(connection, owner)
        elif owner_id is not None:
            whose = erasing.owner_with_id(connection, owner_id)
        selection = erasing.Selection(job, None if whose is None else whose.id, moment)
        found = erasing.count(connection, selection)
        if found and not yes:
            by_whom = "" if whose is None else f" of {terminal.safe(whose.name)} (owner {whose.id})"
            typer.confirm(
                f"Erase the texts of {found} jobs{by_whom} and their answers, for good?", abort=True, err=True
            )
        with terminal.counting("jobs", found) as passed:
            erased = erasing.erase(connection, selection, reason, by, passed)
    if as_json:
        terminal.as_json({"jobs": erased.jobs, "answers": erased.answers})
    else:
        terminal.say(f"erased: the texts of {erased.jobs} jobs, {erased.answers} of them answered")
