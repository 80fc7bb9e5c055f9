"""`loradex ask`: one question, answered by the running stack."""

import csv
from typing import Annotated

import typer

from loradex import terminal
from loradex.errors import InvalidArgumentError

METHODS = (
    "affinity_calibrated_cat (default), affinity, cat, linear, ties, magnitude_prune, calibrated_*, own, base"
)


def ask(
    prompt: Annotated[str, typer.Argument(help="The question.")],
    choices: Annotated[str | None, typer.Option(help="Answers to rank, separated by commas.")] = None,
    method: Annotated[str | None, typer.Option(help=f"How adapters are mixed: {METHODS}.")] = None,
    adapter: Annotated[str | None, typer.Option(help="The adapter of method `own`.")] = None,
    k: Annotated[int | None, typer.Option("--k", help="Neighbours that vote.")] = None,
    top_p: Annotated[
        float | None, typer.Option(help="Probability mass of the tasks that are mixed, (0, 1].")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(help="Softness of the neighbours' votes, above 0.")
    ] = None,
    density: Annotated[
        float | None, typer.Option(help="Share of entries a trimming method keeps, (0, 1].")
    ] = None,
    exclude_task: Annotated[list[str] | None, typer.Option(help="A task that must not take part.")] = None,
    max_new_tokens: Annotated[int | None, typer.Option(help="Tokens to write at most.")] = None,
    sampling_temperature: Annotated[float | None, typer.Option(help="0 writes the likeliest text.")] = None,
    sampling_top_p: Annotated[float | None, typer.Option(help="Mass of the tokens sampled from.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the sampling.")] = None,
    idempotency_key: Annotated[
        str | None, typer.Option(help="Asking again with it gives the same job.")
    ] = None,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds to wait for the answer.")] = 60.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Ask a question and print the answer with what it was mixed from.

    Example: loradex ask "Premise: It rains. Hypothesis: The street is wet. Does the premise entail the
    hypothesis?" --choices yes,no,maybe
    """
    from loradex.service.cli.answer_view import print_answer
    from loradex.service.client import Client

    wanted = {
        "choices": split_choices(choices),
        "method": method,
        "adapter": adapter,
        "k": k,
        "top_p": top_p,
        "temperature": temperature,
        "density": density,
        "exclude_tasks": exclude_task or None,
        "max_new_tokens": max_new_tokens,
        "sampling_temperature": sampling_temperature,
        "sampling_top_p": sampling_top_p,
        "seed": seed,
        "idempotency_key": idempotency_key,
    }
    with Client() as client:
        job = client.enqueue(prompt, **{name: value for name, value in wanted.items() if value is not None})
        answer = job.wait(timeout=timeout)
    if as_json:
        terminal.as_json(answer.as_dict())
    else:
        print_answer(answer)


def split_choices(text: str | None) -> list[str] | None:
    """The choices in `yes,no,"well, maybe"`; `InvalidArgumentError` if the quotes do not close."""
    if text is None:
        return None
    try:
        parts = next(csv.reader([text], skipinitialspace=True, strict=True), [])
    except csv.Error as error:
        raise InvalidArgumentError(
            f'--choices cannot be read ({error}); write them as yes,no,"well, maybe"'
        ) from None
    return [part.strip() for part in parts]
