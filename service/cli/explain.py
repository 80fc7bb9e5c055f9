"""`loradex explain`: how an answer came about."""

from typing import Annotated, Any

import typer

from loradex import terminal

NEIGHBOURS_SHOWN = 10
DIGITS = 12
"""Of a hash, as shown to people; `--json` has all."""
ERASED = "erased"
"""In place of what `loradex erase` took."""
ELSEWHERE = {
    "kind",
    "choices",
    "frame",
    "framed",
    "device",
    "dtype",
    "finish_reason",
    "draws",
    "question_tokens",
    "question_tokens_read",
    "model_defaults",
    "prior",
}
"""What is said of the generation in another place of the page, or not for people."""


def explain(
    answer: Annotated[str, typer.Argument(help="Id of the answer.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as one JSON object.")] = False,
) -> None:
    """Say what was asked, what retrieval saw, what was mixed, what came out, and its link in the audit chain.

    Example: loradex explain 0b6f3a52-6d3e-4c41-9a55-0c1d2e3f4a5b
    """
    from loradex.service.client import Client

    with Client() as client:
        document = client.explain(answer)
    if as_json:
        terminal.as_json(document)
    else:
        print_account(document)


def print_account(document: dict[str, Any]) -> None:
    """The whole account of an answer, in the order in which it came about."""
    from loradex.service.cli.answer_view import print_distribution, print_mixture, print_neighbours

    _heading("Question")
    _facts(
        {
            "prompt": ERASED if document["erased"] else document["prompt"],
            "read as": None if document["messages"] is None else document["framed"],
            "asked by": document["owner"],
            "kind": document["generation"]["kind"],
            "expected task": document["expected_task"],
        }
    )
    _heading("Retrieval")
    seen = document["retrieval"]
    _facts(
        {
            "encoder": f"{seen['encoder']} at {seen['encoder_revision'][:DIGITS]}",
            "read": _read(document["generation"]),
            "settings": f"k {seen['k']}, top_p {seen['top_p']:g}, temperature {seen['temperature']:g}",
            "excluded": ", ".join([*seen["exclude_tasks"], *seen["exclude_adapters"]]),
        }
    )
    print_neighbours(document["neighbours"], NEIGHBOURS_SHOWN)
    print_distribution(document["distribution"])
    _heading("Mixture")
    merge = document["merge"]
    conflict = merge["sign_conflict"]
    _facts(
        {
            "recipe": merge["recipe_hash"],
            "settings": f"density {merge['density']:g}, {merge['dtype']}",
            "update norm": f"{merge['update_norm']:.4f}",
            "sign conflict": None if conflict is None else f"{conflict:.1%} of entries",
            "drawn": "; ".join(map(_drawn, document["generation"].get("draws", ()))),
        }
    )
    print_mixture(document["method"], document["mixture"])
    _heading("Answer")
    _print_answer(document)
    _heading("Evidence")
    chain = document["chain"]
    _facts(
        {
            "answer": document["answer_id"],
            "job": f"{document['job_id']}, attempt {document['attempt']}",
            "worker": f"{document['worker']}, {document['created_at']}",
            "chain": f"link {chain['position']}, {chain['chain_hash']}",
            "before it": chain["previous_hash"],
            "versions": ", ".join(
                f"{name} {version[:DIGITS]}" for name, version in document["versions"].items()
            ),
            "replay": f"loradex replay {document['answer_id']}",
        }
    )


def _read(told: dict[str, Any]) -> str | None:
    """What the encoder read of the question, where that is not all of it."""
    tokens, read = told.get("question_tokens"), told.get("question_tokens_read")
    if tokens == read:
        return None
    return f"{read} of the question's {tokens} tokens, from its start and its end"


def _print_answer(document: dict[str, Any]) -> None:
    told = document["generation"]
    _print_scores(document)
    _facts(
        {
            "text": ERASED if document["erased"] else document["text"],
            "tokens": f"{document['prompt_tokens']} read, {document['output_tokens']} written",
            "settings": ", ".join(
                f"{name} {value}"
                for name, value in told.items()
                if name not in ELSEWHERE and value is not None
            ),
            "model's own": ", ".join(told.get("model_defaults", ())),
            "model": f"{document['base_model']} at {document['base_model_revision'][:DIGITS]}, "
            f"{told['dtype']} on {told['device']}",
            "milliseconds": ", ".join(f"{stage} {spent:.1f}" for stage, spent in document["timings"].items()),
        }
    )


def _print_scores(document: dict[str, Any]) -> None:
    """The choices, that which won first, and where it was judged by its share in answers before, how."""
    from loradex.service.explorer.scores import scored, title_of

    rows, title = scored(document), title_of(document).lower()
    if "prior" in document["generation"]:
        terminal.table(
            ("choice", title, "share before", "judged by"),
            [(one.choice, f"{one.score:.4f}", f"{one.share:.4f}", f"{one.judged:.4f}") for one in rows],
        )
    elif rows:
        terminal.table(("choice", title), [(one.choice, f"{one.score:.4f}") for one in rows])


def _drawn(draw: dict[str, Any]) -> str:
    """Which of the adapters that share a task answered, and why."""
    return (
        f"{draw['adapter']} version {draw['version']} for {draw['task']}: share {draw['share']:.4g}, "
        f"{draw['draw']:.4f} is the smallest draw of {draw['among']}"
    )


def _heading(text: str) -> None:
    terminal.console().print(text, style="bold underline", markup=False)


def _facts(facts: dict[str, str | None]) -> None:
    """One fact a line; what is not known is left out."""
    width = max(map(len, facts))
    for name, fact in facts.items():
        if fact:
            terminal.console().print(f"  {name:<{width}}  {fact}", markup=False, highlight=False)
    terminal.console().print()
