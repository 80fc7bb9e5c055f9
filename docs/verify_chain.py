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
from heapq import merge
from pathlib import Path

Row = dict[str, str | None]

ASKED = ["prompt", "messages", "choices", "stop", "held_to", "query"]
ERASABLE = [*ASKED, "text", "choice", "token_ids", "logprobs"]
"""Columns that stand in the canonical text by a commitment."""

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


WHOLE = "attempt position prompt_tokens output_tokens owner_id k first_position last_position answer_count"
WHOLE_LISTS = "token_ids example_ids task_neighbours adapter_ids adapter_versions"
DOCUMENTS = "generation timings versions messages commitments files logprobs held_to"
NUMBERS = "top_p temperature routing_milliseconds density update_norm sign_conflict merge_milliseconds"
NUMBER_LISTS = "scores similarities task_similarities probabilities task_weights weights adapter_norms"
TEXT_LISTS = (
    "choices stop exclude_tasks exclude_adapters example_refs example_tasks tasks adapters adapter_tasks "
    "adapter_hashes adapter_uris answers"
)
BOOLEAN = {"t": "true", "f": "false"}.__getitem__
KINDS: dict[str, Callable[[str], str]] = {
    **dict.fromkeys([*WHOLE.split(), *DOCUMENTS.split()], str),
    **dict.fromkeys(NUMBERS.split(), number),
    **dict.fromkeys(WHOLE_LISTS.split(), lambda text: array(str, text)),
    **dict.fromkeys(NUMBER_LISTS.split(), lambda text: array(number, text)),
    **dict.fromkeys(TEXT_LISTS.split(), lambda text: array(string, text)),
    "in_nucleus": lambda text: array(BOOLEAN, text),
    "calibrated": BOOLEAN,
    "created_at": timestamp,
    "before": timestamp,
}
"""Column → how its text is written; every other column is a string."""


def written(parts: dict[str, str]) -> str:
    """A JSON object: shorter keys first, then by their bytes."""
    order = sorted(parts, key=lambda key: (len(key.encode()), key.encode()))
    return "{" + ", ".join(f"{string(key)}: {parts[key]}" for key in order) + "}"


def canonical(row: Row) -> str:
    """The canonical text of an answer, or of a note, which has nothing that can be erased."""
    parts = {key: "null" if text is None else KINDS.get(key, string)(text) for key, text in row.items()}
    salt, kept = parts.pop("salt", ""), parts.pop("commitments", "null")
    for key in ERASABLE if salt else []:
        if kept == "null":
            text = bytes.fromhex(json.loads(salt)[2:]) + written({key: parts[key]}).encode()
            parts[key] = string(hashlib.sha256(text).hexdigest())
        elif parts[key] == salt == "null" and len(json.loads(kept)) == len(ERASABLE):  # Else no hash fits.
            parts[key] = string(json.loads(kept).get(key))
    del parts["chain_hash"]
    return written(parts)


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


def place(row: Row) -> int:
    return int(row["position"] or 0)


def findings(directory: Path, heads: set[str]) -> Iterator[str]:
    notes = list(rows(directory / "archives.tsv"))
    first, before = 1, "\\x" + "00" * 32
    for note in sorted(notes, key=lambda row: int(row["first_position"] or 0)):
        start, last = int(note["first_position"] or 0), int(note["last_position"] or 0)
        if start == first and start <= last < place(note):
            first, before = last + 1, note["last_hash"] or ""
        else:
            yield f"link {note['id']}: it cannot say that links {start} to {last} were archived"
    heads.discard(before[2:])
    expected, erased, noted = first, set[str](), set[str]()
    for row in merge(rows(directory / "answers.tsv"), rows(directory / "erasures.tsv"), notes, key=place):
        stored, previous, position = row["chain_hash"], row["previous_hash"] or "", place(row)
        computed = hashlib.sha256(bytes.fromhex(previous[2:]) + canonical(row).encode()).hexdigest()
        if stored != "\\x" + computed:
            yield f"link {row['id']}: its chain_hash does not fit its columns"
        if position < first and "salt" not in row:
            continue  # A note that is in an archive.
        if position != expected:
            yield f"link {row['id']}: its position is {position}, and {expected} was expected"
        elif previous != before:
            yield f"link {row['id']}: its previous_hash is not the chain_hash of the link before it"
        if "answers" in row:
            noted.update(re.findall("[0-9a-f-]{36}", row["answers"] or ""))
        elif row.get("commitments") is not None:
            erased.add(row["id"] or "")
        expected, before = position + 1, stored or ""
        heads.discard(computed)
    yield from (f"no link has the hash {head}" for head in sorted(heads))
    yield from (f"link {one}: its texts were erased, and no note says so" for one in sorted(erased - noted))


if __name__ == "__main__":
    wrong = list(findings(Path(sys.argv[1]), set(sys.argv[2:])))
    sys.stdout.write("\n".join(wrong or ["intact"]) + "\n")
    sys.exit(bool(wrong))
