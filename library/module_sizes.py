"""The modules of a base model that an adapter may change, and the sizes of their weights, read from its files."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from loradex.errors import AdapterRefusedError, ModelRefusedError
from loradex.library.model_json import read_object
from loradex.library.safetensors_file import SafetensorsError, read_header

Size = tuple[int, int]
"""`(d_out, d_in)` of a linear module's weight, or of an embedding's turned one; of a norm with a bias d_in is 0."""

TURNED: Final = frozenset({"gpt2", "openai-gpt"})
"""Model types that keep their weights as `[d_in, d_out]` (transformers' `Conv1D`)."""
EMBEDDING = re.compile(r"(?:.*\.)?(?:embed_tokens|wte|embed_in|word_embeddings)")
HEAD: Final = "lm_head"


def tensor_shapes(directory: Path) -> dict[str, tuple[int, ...]]:
    """The tensor shapes of a model's safetensors files, by tensor name; only headers are read."""
    shapes: dict[str, tuple[int, ...]] = {}
    for path in sorted(directory.glob("*.safetensors")):
        with path.open("rb") as stream:
            try:
                entries = read_header(stream, path.stat().st_size)
            except SafetensorsError as error:
                raise AdapterRefusedError(f"{path}: the base model's file is broken: {error}") from error
        shapes |= {name: entry.shape for name, entry in entries.items()}
    return shapes


def module_sizes(directory: Path) -> dict[str, Size]:
    """Sizes by module, as far as safetensors files name them as the loaded model does; {} if there are none.

    An embedding reads one of as many words as its weight has rows, so those are its `d_in`. A head that shares its
    weight has no tensor of its own, and is named all the same. A quantised model's packed weights have other shapes,
    and tell nothing.
    """
    config = _config(directory)
    if config.get("quantization_config"):
        return {}
    turned = config.get("model_type") in TURNED
    sizes: dict[str, Size] = {}
    embedding: Size | None = None
    shapes = tensor_shapes(directory)
    for name, shape in shapes.items():
        if (
            not name.isprintable()
        ):  # No module is called so, and Postgres does not store NUL or half a surrogate pair.
            continue
        module, dot, kind = name.rpartition(".")
        match shape:
            case (int(values),) if dot and kind == "bias" and shapes.get(f"{module}.weight") == shape:
                sizes[module] = values, 0
                continue
            case (int(rows), int(columns)) if dot and kind == "weight":
                pass
            case _:
                continue
        if EMBEDDING.fullmatch(module):
            embedding = rows, columns
            sizes[module] = columns, rows
        else:
            sizes[module] = (columns, rows) if turned and module != HEAD else (rows, columns)
    if embedding is not None:
        sizes.setdefault(HEAD, embedding)
    return sizes


def size_of(module: str, sizes: Mapping[str, Size]) -> Size | None:
    """A module's size; files may leave out the first part of its name, the loaded model's own (`transformer.`)."""
    return sizes.get(module) or sizes.get(module.partition(".")[2])


def _config(directory: Path) -> dict[str, Any]:
    try:
        return read_object(directory / "config.json")
    except ModelRefusedError:
        return {}
