"""`loradex cancel`: end jobs that have no answer yet."""

from typing import Annotated

import typer

from loradex import terminal


def cancel(
    jobs: Annotated[list[str], typer.Argument(help="Ids of the jobs.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object: id to state.")] = False,
) -> None:
    """End jobs that have no answer yet, all of them or none.

    A job that waits ends at once. One that runs ends too: its worker drops it at the next token. A job that
    has ended stays as it is. Everybody may cancel jobs of their own, an administrator all.

    Example: loradex cancel 0198c5f2-6d3e-7c41-9a55-0c1d2e3f4a5b
    """
    from loradex.service.client import Client

    with Client() as client:
        ids = [client.job(job).id for job in jobs]
        states = {str(job): state for job, state in zip(ids, client.cancel(ids), strict=True)}
    if as_json:
        terminal.as_json(states)
        return
    for job, state in states.items():
        terminal.say(f"{job} is {state}" + ("" if state == "cancelled" else ", as it was before"))
