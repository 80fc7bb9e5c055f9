"""The parts of an encoder as sentence-transformers writes them: what each file may say, and what we honour.

sentence-transformers itself is not needed to answer: importing it costs a worker three seconds of its start.
A test compares every vector with its own.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

OLD_POOLINGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
"""In the order in which vectors are joined where a file of old says several."""
ACTIVATIONS = frozenset(
    {"ELU", "GELU", "Identity", "LeakyReLU", "Mish", "ReLU", "ReLU6", "SELU", "SiLU", "Sigmoid", "Softplus"}
    | {"Softsign", "Tanh"}
)
"""Of torch, called as sentence-transformers calls them: without arguments."""

Mode = Literal["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]
Size = Annotated[int, Field(ge=1)]
Embedding = Literal["sentence_embedding"] | None


class Said(BaseModel):
    """What one file says. A key that is not known here is refused: it might change every vector."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Reading(Said):
    """`sentence_bert_config.json`: how a transformer reads a text. Only the first two are chosen freely."""

    max_seq_length: Size | None = None
    do_lower_case: bool = False
    transformer_task: Literal["feature-extraction"] = "feature-extraction"
    modality_config: dict[str, Any] = {}
    module_output_name: Literal["token_embeddings"] = "token_embeddings"
    unpad_inputs: bool | None = None
    query_length: None = None
    document_length: None = None
    query_expansion: None = None
    model_args: dict[str, None] | None = None
    model_kwargs: dict[str, None] | None = None
    tokenizer_args: dict[str, None] | None = None
    processor_kwargs: dict[str, None] | None = None
    processing_kwargs: dict[str, None] | None = None
    config_args: dict[str, None] | None = None
    config_kwargs: dict[str, None] | None = None

    @model_validator(mode="after")
    def _text_is_read_plainly(self) -> Self:
        plain = {"method": "forward", "method_output_name": "last_hidden_state"}
        if self.modality_config not in ({}, {"text": plain}):
            raise ValueError("only texts are read, and by the model's last hidden state")
        return self


class Use(Said):
    """`config_sentence_transformers.json`: texts put before a text, and what vectors are compared by.

    `default_prompt_name` is left out: questions and examples have prompts of their own, empty if nobody says.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    model_type: Literal["SentenceTransformer"] = "SentenceTransformer"
    prompts: dict[str, str | None] = {}
    similarity_fn_name: Literal["cosine", "dot", "euclidean", "manhattan"] | None = None
    truncate_dim: None = None


class Pooling(Said):
    """One vector of a text's many: `modes` are joined in their order."""

    embedding_dimension: Size
    modes: tuple[Mode, ...]
    include_prompt: bool = True

    @model_validator(mode="before")
    @classmethod
    def _in_todays_words(cls, said: object) -> object:
        if not isinstance(said, dict):
            return said
        told = dict(said)
        old = {name: told.pop(key) for key, name in OLD_POOLINGS.items() if key in told}
        modes = told.pop("pooling_mode", None) or [name for name, wanted in old.items() if wanted] or ["mean"]
        if "word_embedding_dimension" in told:
            told["embedding_dimension"] = told.pop("word_embedding_dimension")
        return told | {"modes": [modes] if isinstance(modes, str) else modes}

    @property
    def dimensions(self) -> int:
        return len(self.modes) * self.embedding_dimension


class Dense(Said):
    """A linear map with its activation; the factors lie beside the file."""

    in_features: Size
    out_features: Size
    bias: bool = True
    activation_function: str = "torch.nn.modules.activation.Tanh"
    use_residual: bool = False
    module_input_name: Embedding = None
    module_output_name: Embedding = None

    @model_validator(mode="after")
    def _known_activation(self) -> Self:
        if not self.activation_function.startswith("torch.nn.") or self.activation not in ACTIVATIONS:
            raise ValueError(
                f"activation_function {self.activation_function} is not one of torch's: "
                f"{', '.join(sorted(ACTIVATIONS))}"
            )
        return self

    @property
    def activation(self) -> str:
        return self.activation_function.rpartition(".")[2]


class LayerNorm(Said):
    """Torch's LayerNorm; its factors lie beside the file."""

    dimension: Size


class Normalize(Said):
    """Length one."""

    module_input_name: Embedding = None
    module_output_name: Embedding = None


class Dropout(Said):
    """Nothing, outside training."""

    dropout: float = 0.0


Layer = Pooling | Dense | LayerNorm | Normalize | Dropout
LAYERS: dict[str, type[Layer]] = {
    "Pooling": Pooling,
    "Dense": Dense,
    "LayerNorm": LayerNorm,
    "Normalize": Normalize,
    "Dropout": Dropout,
}


class Step(Said):
    """A layer, and the directory with its factors."""

    layer: Layer
    directory: Path
