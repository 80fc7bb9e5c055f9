"""An answer and how it came about, for people."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from loradex import terminal

if TYPE_CHECKING:
    from loradex.service.client import Answer

NEAREST_SHOWN = 5
TASKS_SHOWN = 8
HASH_SHOWN = 12


def print_answer(answer: "Answer") -> None:
    """The answer with its nearest examples, its tasks as bars, its mixture, and where to look further."""
    out = terminal.console()
    out.print(answer.text or "(the model wrote nothing)", style="bold", markup=False, highlight=False)
    print_provenance(answer)


def print_provenance(answer: "Answer") -> None:
    """All of it but its text."""
    out = terminal.console()
    if answer.scores is not None:
        scored = sorted(zip(answer.choices or (), answer.scores, strict=True), key=lambda pair: -pair[1])
        terminal.table(("choice", "score"), [(choice, f"{score:.4f}") for choice, score in scored])
    out.print()
    print_neighbours(answer.neighbours, NEAREST_SHOWN)
    print_distribution(answer.distribution)
    print_mixture(answer.method, answer.mixture)
    out.print(f"answer {answer.answer_id}", markup=False, highlight=False)
    program = terminal.program()
    out.print(f"  {program} explain {answer.answer_id}", markup=False, highlight=False)
    out.print(
        f"""  {program} db psql -c "select jsonb_pretty(loradex.explain('{answer.answer_id}'))\"""",
        markup=False,
        highlight=False,
    )


def print_neighbours(neighbours: Sequence[Mapping[str, Any]], shown: int) -> None:
    """The nearest examples, nearest first."""
    if not neighbours:
        terminal.console().print("no example was near: the library holds none, or all were left out\n")
        return
    rows = [
        (one["rank"], one["task"], one["source_ref"], f"{one['similarity']:.3f}")
        for one in neighbours[:shown]
    ]
    terminal.table(
        ("rank", "task", "example", "similarity"), rows, f"nearest {len(rows)} of {len(neighbours)}"
    )
    terminal.console().print()


def print_distribution(distribution: Sequence[Mapping[str, Any]]) -> None:
    """The tasks the neighbours voted for; the part inside the nucleus is marked."""
    if not distribution:
        return
    bars = {
        f"{'*' if one['in_nucleus'] else ' '} {one['task']}": one["probability"]
        for one in distribution[:TASKS_SHOWN]
    }
    terminal.bars(bars, "tasks (* inside the nucleus)")
    rest = distribution[TASKS_SHOWN:]
    if rest:
        terminal.console().print(
            f"    and {len(rest)} more with {sum(one['probability'] for one in rest):.1%}"
        )
    terminal.console().print()


def print_mixture(method: str, mixture: Sequence[Mapping[str, Any]]) -> None:
    """The adapters that answered."""
    if not mixture:
        terminal.console().print(f"no adapter took part (method {method}): the base model answered alone\n")
        return
    rows = [
        (f"{one['weight']:.4f}", one["adapter"], one["version"], one["task"], one["sha256"][:HASH_SHOWN])
        for one in mixture
    ]
    terminal.table(("weight", "adapter", "version", "task", "sha256"), rows, f"mixture ({method})")
    terminal.console().print()
