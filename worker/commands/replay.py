"""`loradex replay`: answers once more from their stored facts."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from loradex import terminal
from loradex.errors import InvalidArgumentError, UnknownAnswerError

if TYPE_CHECKING:
    from loradex.worker.comparison import Replay


def replay(
    answers: Annotated[list[str] | None, typer.Argument(help="Ids of the answers.")] = None,
    sample: Annotated[int, typer.Option(min=0, help="Draw this many answers at random.")] = 0,
    seed: Annotated[int, typer.Option(help="Seed of the draw.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object an answer.")] = False,
) -> None:
    """Rebuild mixtures from stored facts alone, answer again and compare; exit code 1 if one answer differs.

    Adapter files are checked against the stored hashes. Tokens and text must be the same, and scores within
    what rounding does on this device and in this dtype. The first token that differs is shown, and how much
    likelier the new one is.

    Example: loradex replay --sample 100
    """
    if not answers and not sample:
        raise InvalidArgumentError("name an answer, or draw some with --sample N")
    from loradex.worker.replay import replay as run
    from loradex.worker.settings import WorkerSettings

    done = []
    with terminal.waiting("replaying"):
        for one in run(WorkerSettings(), [_id(answer) for answer in answers or []], sample, seed):
            done.append(one)
            if as_json:
                terminal.as_json(asdict(one))
    if not as_json:
        _print(done)
    raise typer.Exit(0 if all(one.same for one in done) else 1)


def _id(answer: str) -> UUID:
    try:
        return UUID(answer)
    except ValueError:
        raise UnknownAnswerError(f"{answer!r} is not an answer id") from None


def _print(replays: "list[Replay]") -> None:
    if not replays:
        return
    from loradex.worker.comparison import verdict

    terminal.table(("answer", "verdict"), [(one.answer_id, verdict(one)) for one in replays])
    same = sum(one.same for one in replays)
    terminal.console().print(f"{same} of {len(replays)} the same", markup=False)
