"""An encoder's directory, read without torch: how it makes a vector of a text, or why we cannot do the same."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from loradex.errors import ModelRefusedError
from loradex.library.encoder_layers import (
    LAYERS,
    Dense,
    LayerNorm,
    Normalize,
    Pooling,
    Reading,
    Said,
    Step,
    Use,
)
from loradex.library.model_json import read_json, read_object
from loradex.library.safetensors_file import SafetensorsError, read_header

WIDTHS: Final = ("hidden_size", "dim", "d_model", "n_embd", "hidden_dim")
"""How configurations name the length of their hidden states; the first that is there counts."""
READINGS: Final = tuple(
    f"sentence_{kind}_config.json"
    for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
STATIC_FILE: Final = "model.safetensors"
STATIC: Final = ("embedding.weight", "embeddings")
"""The tensor of a static model, as sentence-transformers and model2vec name it."""
QUESTION_PROMPTS: Final = ("query",)
EXAMPLE_PROMPTS: Final = ("document", "passage", "corpus")
SAME_ORDER: Final = ("cosine", "dot", "euclidean")
"""Of vectors of length one these three rank alike."""

Config = TypeVar("Config", bound=BaseModel)


class Module(Said):
    """An entry of `modules.json`."""

    idx: int
    name: str
    path: str
    type: str
    kwargs: tuple[None, ...] = ()


@dataclass(frozen=True)
class EncoderFiles:
    """What an encoder's directory says.

    Attributes:
        kind: `transformer`: a text's tokens become vectors one and all, and are pooled; `static`: each token
            has a vector of its own, and a text the mean of them.
        start: Directory of the transformer, or of the static table.
        reading: How the transformer reads.
        steps: What makes of its output the vector, in order; the vector has length one in the end.
        dimensions: Of the vector.
        question_prompt: Put before a question.
        example_prompt: Put before an example.
    """

    kind: Literal["transformer", "static"]
    start: Path
    reading: Reading
    steps: tuple[Step, ...]
    dimensions: int
    question_prompt: str
    example_prompt: str


def read_encoder(directory: Path) -> EncoderFiles:
    """What the directory says.

    Raises:
        ModelRefusedError: Not an encoder, or one that we could not follow exactly; the text says why.
    """
    modules = _modules(directory)
    if modules is None:
        return _plain(directory)
    for module in modules:
        if not module.type.startswith("sentence_transformers."):
            raise ModelRefusedError(
                f"{directory}: {module.type} is code of the model's own, which is not run"
            )
    first, *others = modules
    kind = _kind(directory, _name(first))
    start = _below(directory, first.path)
    reading = _reading(start) if kind == "transformer" else Reading()
    steps = tuple(_step(directory, module) for module in others)
    use = _said(directory / "config_sentence_transformers.json", Use)
    if use.similarity_fn_name is not None and not _ranks_like_cosine(use.similarity_fn_name, steps):
        raise ModelRefusedError(
            f"{directory}: its vectors are compared by {use.similarity_fn_name}; retrieval compares by cosine, "
            "which ranks otherwise"
        )
    dimensions = _dimensions(directory, kind, start, steps)
    return EncoderFiles(
        kind, start, reading, steps, dimensions, _prompt(use, QUESTION_PROMPTS), _prompt(use, EXAMPLE_PROMPTS)
    )


def hidden_size(directory: Path) -> int:
    """The length of a transformer's hidden states, from its `config.json`."""
    config = read_object(directory / "config.json")
    inner = config.get("text_config")
    for told in (config, inner if isinstance(inner, dict) else {}):
        for name in WIDTHS:
            if isinstance(told.get(name), int):
                return int(told[name])
    raise ModelRefusedError(
        f"{directory / 'config.json'}: none of {', '.join(WIDTHS)} says how long vectors are"
    )


def _plain(directory: Path) -> EncoderFiles:
    """Without a `modules.json`: a transformer's mean, as sentence-transformers takes it, or model2vec's own."""
    config = read_object(directory / "config.json")
    if config.get("model_type") == "model2vec":
        return EncoderFiles("static", directory, Reading(), (), _table(directory)[1], "", "")
    width = hidden_size(directory)
    pooling = Step(layer=Pooling(embedding_dimension=width, modes=("mean",)), directory=directory)
    return EncoderFiles("transformer", directory, _reading(directory), (pooling,), width, "", "")


def _kind(directory: Path, name: str) -> Literal["transformer", "static"]:
    if name == "Transformer":
        return "transformer"
    if name == "StaticEmbedding":
        return "static"
    raise ModelRefusedError(
        f"{directory}: it begins with {name}; encoders that begin with Transformer or StaticEmbedding are read"
    )


def _reading(start: Path) -> Reading:
    if (start / "adapter_config.json").is_file():
        raise ModelRefusedError(f"{start}: its transformer is a LoRA; merge it into its base model first")
    found = [start / name for name in READINGS if (start / name).is_file()]
    return _said(found[0], Reading) if found else Reading()


def _step(directory: Path, module: Module) -> Step:
    kind = LAYERS.get(_name(module))
    if kind is None:
        raise ModelRefusedError(
            f"{directory}: {_name(module)} is not among the layers that are read: {', '.join(LAYERS)}"
        )
    place = _below(directory, module.path)
    return Step(layer=_said(place / "config.json", kind), directory=place)


def _dimensions(directory: Path, kind: str, start: Path, steps: tuple[Step, ...]) -> int:
    poolings = [step for step in steps if isinstance(step.layer, Pooling)]
    if len(poolings) != (kind == "transformer") or (poolings and poolings[0] is not steps[0]):
        raise ModelRefusedError(
            f"{directory}: one Pooling must follow a Transformer, and none a StaticEmbedding"
        )
    width = hidden_size(start) if kind == "transformer" else _table(start)[1]
    for step in steps:
        match step.layer:
            case Pooling():
                wanted, after = step.layer.embedding_dimension, step.layer.dimensions
            case Dense():
                wanted, after = step.layer.in_features, step.layer.out_features
            case LayerNorm():
                wanted, after = step.layer.dimension, step.layer.dimension
            case _:
                continue
        if wanted != width:
            raise ModelRefusedError(f"{step.directory}: it takes {wanted} numbers and is given {width}")
        width = after
    return width


def _table(start: Path) -> tuple[int, ...]:
    path = start / STATIC_FILE
    try:
        with path.open("rb") as stream:
            tensors = read_header(stream, path.stat().st_size)
    except OSError as error:
        raise ModelRefusedError(f"{path}: {error.strerror or error}") from None
    except SafetensorsError as error:
        raise ModelRefusedError(f"{path}: {error}") from None
    for name in STATIC:
        if name in tensors and len(tensors[name].shape) == 2:  # noqa: PLR2004 - a table
            return tensors[name].shape
    raise ModelRefusedError(f"{path}: there is no table named {' or '.join(STATIC)}")


def _prompt(use: Use, names: tuple[str, ...]) -> str:
    """The first that is there; sentence-transformers documents the same, and 6.2 takes a missing `document` for ""."""
    for name in names:
        if name in use.prompts:
            return use.prompts[name] or ""
    return ""


def _ranks_like_cosine(name: str, steps: tuple[Step, ...]) -> bool:
    unit = any(isinstance(step.layer, Normalize) for step in steps[-1:])
    return name == "cosine" or (unit and name in SAME_ORDER)


def _modules(directory: Path) -> list[Module] | None:
    path = directory / "modules.json"
    if not path.is_file():
        return None
    try:
        modules = TypeAdapter(list[Module]).validate_python(read_json(path))
    except ValidationError as error:
        raise ModelRefusedError(_first(path, error)) from None
    if not modules:
        raise ModelRefusedError(f"{path}: it lists no module")
    return sorted(modules, key=lambda module: module.idx)


def _name(module: Module) -> str:
    return module.type.rpartition(".")[2]


def _below(directory: Path, path: str) -> Path:
    place = directory / path
    if not place.resolve().is_relative_to(directory.resolve()):
        raise ModelRefusedError(f"{directory / 'modules.json'}: {path} lies outside the model's directory")
    return place


def _said(path: Path, kind: type[Config]) -> Config:
    """What a file says; a file that is not there says what is usual."""
    try:
        return kind.model_validate(read_json(path) if path.is_file() else {})
    except ValidationError as error:
        raise ModelRefusedError(_first(path, error)) from None


def _first(path: Path, error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    what = str(first["msg"]).removeprefix("Value error, ")
    unknown = first["type"] == "extra_forbidden"
    told = "this key is not known, and what it asks for would be left out" if unknown else what
    return f"{path}: {where}: {told}" if where else f"{path}: {told}"
