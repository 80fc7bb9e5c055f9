"""A stored answer as the question that it was: its row and its mixture, from the facts on record alone."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loradex.errors import LoradexError, ReplayRefusedError
from loradex.library.adapter_roots import AdapterRoots
from loradex.library.model_files import ModelFiles
from loradex.worker.engine.framed import Framed
from loradex.worker.engine.recipe import Recipe
from loradex.worker.engine.rows import Row

Document = Mapping[str, Any]


@dataclass(frozen=True)
class Stored:
    """An answer that can be asked once more.

    Attributes:
        document: What `loradex.explain` tells of it.
        recipe: How its adapters are mixed.
        row: The question, as the engine reads it.
        adapters: The directory of each adapter, by content hash; whoever reads the files checks the hash.
    """

    document: Document
    recipe: Recipe
    row: Row
    adapters: Mapping[str, Path]

    @classmethod
    def of(cls, document: Document, roots: AdapterRoots, places: Mapping[str, str]) -> "Stored":
        """Rebuild recipe and row, and find the adapters.

        Args:
            document: What `loradex.explain` tells.
            roots: Where adapters' files are.
            places: Where its adapters are registered now: content hash → uri. Else they are sought where they were.

        Raises:
            AdapterUnavailableError: An adapter is not where it was, and cannot be fetched.
        """
        merge, mixture = document["merge"], document["mixture"]
        recipe = Recipe.decided({**merge, "mixture": mixture}, merge["density"], merge["dtype"])
        adapters = {
            part["sha256"]: _located(roots, part["sha256"], places.get(part["sha256"]), part["uri"])
            for part in mixture
        }
        return cls(document, recipe, _row(document, recipe), adapters)


def _located(roots: AdapterRoots, sha256: str, now: str | None, then: str) -> Path:
    """Where the files are: where they are registered now, or where they were."""
    if now is not None and now != then:
        with suppress(LoradexError):
            return roots.locate(now, sha256)
    return roots.locate(then, sha256)


def hashes_of(document: Document) -> list[str]:
    """The content hashes of its adapters."""
    return [str(part["sha256"]) for part in document["mixture"]]


def require_model(document: Document, files: ModelFiles) -> None:
    """Refuse an answer without its question, or of another model.

    Raises:
        ReplayRefusedError: It is one.
    """
    if document["erased"]:
        raise ReplayRefusedError("its question was erased, so that it cannot be answered once more")
    if document["base_model_revision"] != files.revision:
        raise ReplayRefusedError(
            f"it was answered by {document['base_model']} at {document['base_model_revision']}, and "
            f"the model at hand is {files.revision}; set LORADEX_BASE_MODEL_PATH"
        )


def _row(document: Document, recipe: Recipe) -> Row:
    told = document["generation"]
    return Row.of(
        _framed(document),
        recipe,
        kind=told["kind"],
        choices=told["choices"],
        settings={name: value for name, value in told.items() if name not in {"kind", "choices"}},
        seed=told["seed"],
    )


def _framed(document: Document) -> Framed:
    """As it was read then: neither today's frame nor today's chat template is asked."""
    told = document["generation"]
    if "framed" not in told:
        return Framed.of(told["frame"], document["prompt"])
    contents = [one["content"] for one in document["messages"]]
    return Framed.conversation(told["framed"]["parts"], contents, spaced=told["framed"]["spaced"])
