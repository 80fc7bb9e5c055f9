"""`loradex doctor`: looks at a deployment, and says the cure of what is ill."""

from typing import Annotated

import typer

from loradex import terminal

WORDS = {"well": "well", "look": "LOOK", "ill": "ILL", "unknown": "unknown"}


def doctor(
    everything: Annotated[bool, typer.Option("--all", help="Show what is well too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document with everything.")] = False,
) -> None:
    """Check parts, versions, settings, clocks, disks, rights, logins and anchors; exit code 1 if something is ill.

    Changes nothing. With the owner's login it sees everything; what a lesser login may not see is called unknown.
    LOOK means that it works and could be better.

    Example: loradex doctor
    """
    from loradex.service.doctor import examine
    from loradex.service.settings import ServiceSettings

    with terminal.waiting("looking"):
        found = list(examine(ServiceSettings()))
    if as_json:
        terminal.as_json([one.as_dict() for one in found])
    else:
        shown = [one for one in found if everything or one.state != "well"]
        if shown:
            rows = [(one.check, WORDS[one.state], one.note, one.cure) for one in shown]
            terminal.table(("check", "state", "what is known", "cure"), rows)
        well = sum(one.state == "well" for one in found)
        terminal.say(f"{well} of {len(found)} checks are well")
    if any(one.state == "ill" for one in found):
        raise typer.Exit(1)
