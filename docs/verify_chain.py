"""Verifies an exported chain of answers with nothing but Python; docs/audit-format.md says how to export it.

Usage: python verify_chain.py DIRECTORY [HEAD ...]
Prints what is wrong, one line each; the exit code is 1 if anything is.
"""  # noqa: INP001

import hashlib
import json
import re
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from itertools import groupby
from pathlib import Path

Row = dict[str, str | None]

CHILDREN = {
    "retrieval": "retrievals",
    "examples": "retrieved_examples",
    "tasks": "retrieved_tasks",
    "merge": "merge_results",
    "components": "merge_components",
}
"""Key in the canonical text → table whose rows stand there."""

ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
TOKEN = re.compile(r'"((?:[^"\\]|\\.)*)"|([{},])|([^"{},]+)', re.DOTALL)


def string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def number(text: str) -> str:
    if text in {"NaN", "Infinity", "-Infinity"}:
        return string(text)
    return "0" if text == "-0" else format(Decimal(text), "f")


def timestamp(text: str) -> str:
    return string(text.replace(" ", "T", 1).replace("+00", "+00:00", 1))


def array(element: Callable[[str], str], text: str) -> str:
    def token(found: re.Match[str]) -> str:
        quoted, bracket, bare = found.groups()
        if bracket:
            return {"{": "[", "}": "]", ",": ", "}[bracket]
        if bare:
            return "null" if bare == "NULL" else element(bare)
        return element(re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL))

    return string(text) if text.startswith("[") else TOKEN.sub(token, text)


AS_PRINTED = (
    "attempt position prompt_tokens output_tokens owner_id k rank example_id neighbours adapter_id version"
)
NUMBERS = "top_p temperature milliseconds similarity best_similarity probability weight density update_norm"
KINDS: dict[str, Callable[[str], str]] = {
    **dict.fromkeys([*AS_PRINTED.split(), "generation", "timings", "versions"], str),
    **dict.fromkeys([*NUMBERS.split(), "sign_conflict"], number),
    **dict.fromkeys(["in_nucleus", "calibrated"], {"t": "true", "f": "false"}.__getitem__),
    "created_at": timestamp,
    "scores": lambda text: array(number, text),
    "token_ids": lambda text: array(str, text),
    "exclude_tasks": lambda text: array(string, text),
    "exclude_adapters": lambda text: array(string, text),
}
"""Column → how its text is written; every other column is a string."""


def written(parts: dict[str, str]) -> str:
    """A JSON object: shorter keys first, then by their bytes."""
    order = sorted(parts, key=lambda key: (len(key.encode()), key.encode()))
    return "{" + ", ".join(f"{string(key)}: {parts[key]}" for key in order) + "}"


def row_text(row: Row) -> str:
    return written(
        {key: "null" if text is None else KINDS.get(key, string)(text) for key, text in row.items()}
    )


def rows(file: Path) -> Iterator[Row]:
    """The rows of a file that `copy … to stdout (header)` wrote."""
    with file.open(encoding="utf-8", newline="\n") as lines:
        names = next(lines).rstrip("\n").split("\t")
        for line in lines:
            yield dict(zip(names, map(value, line.rstrip("\n").split("\t")), strict=True))


def value(field: str) -> str | None:
    if "\\" not in field:
        return field
    return None if field == r"\N" else re.sub(r"\\(.)", lambda found: ESCAPES.get(found[1], found[1]), field)


class Children:
    """The rows of one child table, in the order of the answers they belong to."""

    def __init__(self, file: Path) -> None:
        self._groups = groupby(rows(file), key=lambda row: row["answer_id"])
        self.next()

    def next(self) -> None:
        group: tuple[str | None, Iterator[Row]] = next(self._groups, ("", iter(())))
        self.owner, self._rows = group

    def of(self, answer: str | None) -> str:
        if self.owner != answer:
            return "null"
        texts = [row_text(row) for row in self._rows]
        self.next()
        return f"[{', '.join(texts)}]"


def findings(directory: Path, heads: set[str]) -> Iterator[str]:
    children = {key: Children(directory / f"{table}.tsv") for key, table in CHILDREN.items()}
    expected, before = 1, "\\x" + "00" * 32
    for row in rows(directory / "answers.tsv"):
        stored, previous, position = (
            row.pop("chain_hash"),
            row["previous_hash"] or "",
            int(row["position"] or 0),
        )
        parts = {"answer": row_text(row)} | {key: own.of(row["id"]) for key, own in children.items()}
        computed = hashlib.sha256(bytes.fromhex(previous[2:]) + written(parts).encode()).hexdigest()
        if position != expected:
            yield f"answer {row['id']}: its position is {position}, and {expected} was expected"
        elif previous != before:
            yield f"answer {row['id']}: its previous_hash is not the chain_hash of the answer before it"
        if stored != "\\x" + computed:
            yield f"answer {row['id']}: its chain_hash does not fit its columns"
        expected, before = position + 1, stored or ""
        heads.discard(computed)
    yield from (f"no answer has the hash {head}" for head in sorted(heads))
    for key, own in children.items():
        while own.owner != "":
            yield f"{CHILDREN[key]} holds rows of {own.owner}, but there is no such answer"
            own.next()


if __name__ == "__main__":
    wrong = list(findings(Path(sys.argv[1]), set(sys.argv[2:])))
    sys.stdout.write("\n".join(wrong or ["intact"]) + "\n")
    sys.exit(bool(wrong))
