"""Texts from the Hugging Face hub, by the data set ids in the task cards.

A row is recognised by the hash of its rendered prompt and answer, never by its number: copies of one data set
number their rows differently. A row that differs in one character from the one a library was built from is
therefore not used, and its example stays without text.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import psycopg

from loradex.errors import HubUnavailableError
from loradex.library.cards import Source, TaskCard
from loradex.library.example_store import ExampleStore, Text
from loradex.library.hydrate import HydrateReport
from loradex.library.rendered import example_sha256

HubRow = Mapping[str, Any]
LoadSplit = Callable[[str, str | None, str], Iterable[HubRow]]
"""Data set id, configuration and split → its rows."""


def load_split(dataset: str, config: str | None, split: str) -> Iterable[HubRow]:
    """The rows of one split, through the `datasets` package and its cache on disk.

    Raises:
        HubUnavailableError: The package is missing, or the hub does not give the data set.
    """
    try:
        from datasets import load_dataset  # noqa: PLC0415 - optional, and slow to import
    except ImportError as error:
        raise HubUnavailableError("the `datasets` package is missing: pip install 'loradex[hub]'") from error
    try:
        rows: Iterable[HubRow] = load_dataset(dataset, name=config, split=split)
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise HubUnavailableError(
            f"{dataset} ({split}) does not come from the hub: {reason}; "
            "use `--from DIR` with local files, or look at the network"
        ) from error
    return rows


def hydrate_from_hub(
    connection: psycopg.Connection[Any], card: TaskCard, load: LoadSplit = load_split
) -> HydrateReport:
    """Fill in the texts of one task, all of them or none; a card without a source fills in nothing.

    The connection, in autocommit mode, holds no transaction while the hub is asked, which may take minutes.
    """
    store = ExampleStore(connection)
    if card.source is None:
        return HydrateReport(card.name, 0, 0)
    waiting: dict[str, list[int]] = {}
    for example_id, sha256 in store.textless([card.name]).values():
        waiting.setdefault(sha256, []).append(example_id)
    texts, seen = [], 0
    for split in dict.fromkeys(card.source.splits.values()):
        if not waiting:
            break
        for row in load(card.source.dataset, card.source.config, split):
            seen += 1
            for prompt, target in texts_of(card, card.source, row):
                ids = waiting.pop(example_sha256(prompt, target), [])
                texts += [Text(example_id, prompt, target) for example_id in ids]
    with connection.transaction():
        filled = store.hydrate(texts)
    return HydrateReport(f"{card.source.dataset} ({card.name})", filled, seen - len(texts))


def texts_of(card: TaskCard, source: Source, row: HubRow) -> Iterator[tuple[str, str]]:
    """The prompt of a hub row with each answer it might have; the hash decides which one is meant."""
    found = {name: _field(row, column) for name, column in source.fields.items()}
    fields = {name: text for name, text in found.items() if text is not None}
    if len(fields) < len(found):
        return
    prompts = dict.fromkeys(
        (card.render(fields), card.render({name: text.strip() for name, text in fields.items()}))
    )
    if card.choices is not None and card.choices.kind == "labels":
        targets = list(card.choices.words.values())
    else:
        columns = source.options if card.choices is not None else [source.answers or ""]
        targets = [text for column in columns for text in _texts(_at(row, column))]
    for prompt in prompts:
        for target in dict.fromkeys((*targets, *(target.strip() for target in targets))):
            yield prompt, target


def _field(row: HubRow, column: str) -> str | None:
    texts = [_at(row, part) for part in column.split("+")]
    return " ".join(texts) if all(isinstance(text, str) for text in texts) else None


def _at(row: object, column: str) -> Any:
    for part in column.split("."):
        row = row.get(part) if isinstance(row, Mapping) else None
    return row


def _texts(value: object) -> list[str]:
    values = value if isinstance(value, list | tuple) else [value]
    return [text for text in values if isinstance(text, str)]
