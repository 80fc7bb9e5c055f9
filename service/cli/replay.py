"""`loradex replay`: answers once more from their stored facts."""

import json
import subprocess
import sys
from typing import Annotated, Any
from uuid import UUID

import typer

from db.errors import InvalidArgumentError, UnknownAnswerError
from service.cli import console


def replay(
    answers: Annotated[list[str] | None, typer.Argument(help="Ids of the answers.")] = None,
    sample: Annotated[int, typer.Option(min=0, help="Draw this many answers at random.")] = 0,
    seed: Annotated[int, typer.Option(help="Seed of the draw.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object an answer.")] = False,
) -> None:
    """Rebuild mixtures from stored facts alone, answer again, compare the tokens; exit code 1 if one differs.

    Adapter files are checked against the stored hashes. On the machine and dtype of the answer tokens are
    the same; elsewhere the first token that differs is shown, and how much likelier the new one is.

    Example: loradex replay --sample 100
    """
    if not answers and not sample:
        raise InvalidArgumentError("name an answer, or draw some with --sample N")
    for answer in answers or []:
        _check(answer)
    # The mixture needs torch, so a program of the worker rebuilds it.
    command = [
        sys.executable,
        "-m",
        "worker",
        "replay",
        *(answers or []),
        "--sample",
        str(sample),
        "--seed",
        str(seed),
    ]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
    if as_json:
        sys.stdout.write(done.stdout)
    else:
        _print([json.loads(line) for line in done.stdout.splitlines()])
    raise typer.Exit(done.returncode)


def _check(answer: str) -> None:
    try:
        UUID(answer)
    except ValueError:
        raise UnknownAnswerError(f"{answer!r} is no answer id") from None


def _print(replays: list[dict[str, Any]]) -> None:
    if not replays:
        return
    console.table(("answer", "verdict"), [(one["answer_id"], _verdict(one)) for one in replays])
    same = sum(one["same"] for one in replays)
    console.console().print(f"{same} of {len(replays)} the same", markup=False)


def _verdict(one: dict[str, Any]) -> str:
    if one["problem"] is not None:
        return f"not replayed: {one['problem']}"
    difference = one["difference"]
    if difference is None:
        scores = one["score_difference"]
        return f"same {one['tokens']} tokens" + ("" if scores is None else f", scores within {scores:.1e}")
    margin = difference["margin"]
    by = "" if margin is None else f", which is now likelier by {margin:.4f} (natural log)"
    return (
        f"token {difference['position'] + 1} was {difference['stored']} and is {difference['replayed']}{by}"
    )
