"""`loradex replay`: answers once more from their stored facts."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from loradex import terminal
from loradex.errors import InvalidArgumentError, UnknownAnswerError

if TYPE_CHECKING:
    from loradex.worker.replay import Replay


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
    terminal.table(("answer", "verdict"), [(one.answer_id, _verdict(one)) for one in replays])
    same = sum(one.same for one in replays)
    terminal.console().print(f"{same} of {len(replays)} the same", markup=False)


def _verdict(one: "Replay") -> str:
    if one.problem is not None:
        return f"not replayed: {one.problem}"
    said = [_tokens(one)]
    if one.difference is None and not one.text_same:
        said.append("another text is stored than these tokens say")
    for what, apart, allowed in (
        ("scores", one.score_difference, one.score_tolerance),
        ("log-probabilities", one.logprob_difference, one.logprob_tolerance),
    ):
        if apart is not None and allowed is not None:
            within = apart <= allowed
            said.append(
                f"{what} {'within' if within else 'apart by'} {apart:.1e}"
                + ("" if within else f", and rounding explains {allowed:.0e}")
            )
    if not one.files_same:
        said.append("the model's files are not those that answered")
    return ", ".join(said)


def _tokens(one: "Replay") -> str:
    difference = one.difference
    if difference is None:
        return f"{'same' if one.same else 'the same'} {one.tokens} tokens"
    margin = difference.margin
    by = "" if margin is None else f", which is now likelier by {margin:.4f} (natural log)"
    return f"token {difference.position + 1} was {difference.stored} and is {difference.replayed}{by}"
