"""`loradex demo`: three questions, from an empty machine to answers and their provenance."""

from pathlib import Path
from typing import Annotated, NamedTuple

import typer


class Question(NamedTuple):
    """A question of one family of tasks."""

    family: str
    prompt: str
    choices: list[str]


QUESTIONS = (
    Question(
        "natural language inference",
        "Premise: A man is playing a guitar on stage.\nHypothesis: A man is performing music.\n"
        "Does the premise entail the hypothesis?",
        ["yes", "no", "maybe"],
    ),
    Question(
        "sentiment",
        "Review: The soup came cold, the waiter forgot us twice and the bill was wrong. Never again.\n"
        "Is this review positive or negative?",
        ["positive", "negative"],
    ),
    Question(
        "commonsense",
        "Mia planted tomatoes on her balcony. She watered them every evening. In August one was red.\n"
        "She called her neighbour over.\nHow does the story end?",
        ["They shared a bowl of ripe tomatoes.", "Mia sold the balcony to a bank."],
    ),
)


def demo(
    data: Annotated[
        Path | None,
        typer.Option(
            help="Directory of the data sets' .jsonl or .csv files, to show texts of examples; ids do without.",
            exists=True,
            file_okay=False,
        ),
    ] = None,
) -> None:
    """Start the stack, load the starter library, ask three questions and show how each was answered.

    Example: loradex demo
    """
    from loradex.service.cli.answer_view import print_answer
    from loradex.service.cli.examples import hydrate
    from loradex.service.cli.library import load
    from loradex.service.cli.stack import up
    from loradex.service.client import Client
    from loradex.terminal import console, program

    out = console()
    up(empty=True)  # the library is loaded here, into whatever database there is
    load()
    if data is not None:
        hydrate(str(data))
    with Client() as client:
        jobs = [client.enqueue(question.prompt, choices=question.choices) for question in QUESTIONS]
        for number, (question, job) in enumerate(zip(QUESTIONS, jobs, strict=True), 1):
            heading = f"question {number} of {len(QUESTIONS)}: {question.family}"
            out.print(f"\n{heading}\n{'─' * len(heading)}", style="bold", markup=False, highlight=False)
            out.print(question.prompt, markup=False, highlight=False)
            out.print(f"choices: {' | '.join(question.choices)}\n", markup=False, highlight=False)
            print_answer(job.wait(timeout=120))
    out.print(
        f"\nThe stack runs on; {program()} ask, status, down and --help go on from here.", highlight=False
    )
