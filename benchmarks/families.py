"""Compares every family of causal language models with PEFT and transformers, and writes docs/models-tested.md.

`python -m loradex.benchmarks.families [FAMILY ...]` in a clone: minutes on a CPU. Tiny random models, three adapters
of rank 4, each way to merge and no mixture, a text and a choice each, in one batch and alone. Exit code 1 if a family
is neither exact nor refused.
"""

import argparse
import sys
import tempfile
import textwrap
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import torch
from tests.families import FAMILIES, WINDOW
from tests.peft_compared import LENGTHS, compare
from transformers.utils import logging

from loradex.errors import ModelRefusedError

PAGE = Path(str(files("loradex.benchmarks"))).resolve().parent / "docs" / "models-tested.md"


@dataclass(frozen=True)
class Verdict:
    """What became of one family; `holds` is False where it is wrong or breaks."""

    texts: str
    choices: str
    said: str
    holds: bool


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "families", nargs="*", metavar="FAMILY", help="all, if none is named; only all are written"
    )
    named = parser.parse_args().families
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # PEFT and transformers warn of tiny models
    logging.set_verbosity_error()
    found: dict[str, Verdict] = {}
    for family in named or FAMILIES:
        found[family] = _judged(family)
        print(
            f"{family:<28} {found[family].texts:>7} {found[family].choices:>7}  {found[family].said}",
            flush=True,
        )
    if not named:
        PAGE.write_text(page(found), encoding="utf-8")
    wrong = [family for family, verdict in found.items() if not verdict.holds]
    if wrong:
        sys.exit(f"neither exact nor refused: {', '.join(wrong)}")


def _judged(family: str) -> Verdict:
    with tempfile.TemporaryDirectory(prefix="loradex-family-") as directory:
        try:
            compared = compare(family, Path(directory))
        except ModelRefusedError as error:
            return Verdict("-", "-", f"refused: {str(error).split(', and rows')[0]}", holds=True)
        except Exception as error:  # noqa: BLE001 - the next family is compared all the same
            return Verdict("-", "-", f"breaks: {type(error).__name__}: {error}", holds=False)
    said = "exact" if compared.exact else "; ".join(sorted(set(compared.failures))) or "differs"
    return Verdict(
        "{} of {}".format(*compared.texts), "{} of {}".format(*compared.choices), said, holds=compared.exact
    )


def page(found: Mapping[str, Verdict]) -> str:
    """The table, as Markdown."""
    exact = sum(verdict.said == "exact" for verdict in found.values())
    refused = sum(verdict.said.startswith("refused") for verdict in found.values())
    told = (
        f"{len(found)} families and variants of causal language models: {exact} are answered as PEFT "
        f"{version('peft')} and transformers {version('transformers')} answer them, {refused} are refused when a "
        f"worker starts. The models are tiny and random, in float32 and greedy; what is compared is the code of a "
        f"family and not its published weights. Each has three adapters of rank 4 on its linear modules (on those of "
        f"attention where a model has experts), mixed by `cat`, `linear`, `ties`, `magnitude_prune` and not at all. "
        f"Prompts of {min(LENGTHS)} to {max(LENGTHS)} tokens stand in one batch, and each stands alone; windows are "
        f"{WINDOW} tokens. *Texts* are rows whose tokens are all the same, *choices* rows whose scores are within "
        "1e-4, of three choices of several tokens."
    )
    rows = [f"| {name} | {one.texts} | {one.choices} | {one.said} |" for name, one in found.items()]
    return "\n".join(
        [
            "# Families of base models",
            "",
            "Written by `python -m loradex.benchmarks.families`.",
            "",
            textwrap.fill(told, 118),
            "",
            "| family | texts | choices | |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    )


if __name__ == "__main__":
    main()
