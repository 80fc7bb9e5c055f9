"""How kinds of adapters store the update of a module, and the two factors that it is the product of."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Form:
    """A kind of adapter.

    Attributes:
        kind: PEFT's name of it.
        parts: Names of a module's factors, behind the module's own; none where all it has are extras.
        squared: The update is an entrywise product of two products, whose factors have the square of its rank.
        merges: What it can be mixed by; `None` is every merge.
        about: A line for the page.
        other_names: Parts by the names that PEFT gives them in modules of another sort.
    """

    kind: str
    parts: tuple[str, ...]
    squared: bool
    merges: tuple[str, ...] | None
    about: str
    other_names: Mapping[str, str] = field(default_factory=dict)

    def product_rank(self, stored: int) -> int:
        """The rank of the two factors, from that of the stored tensors."""
        return stored**2 if self.squared else stored

    def stored_rank(self, product: int) -> int:
        """The largest rank of stored tensors whose factors have at most this one."""
        return math.isqrt(product) if self.squared else product

    def sizes(self, shapes: Sequence[Shape], rank: int) -> tuple[int, int] | None:
        """`(d_out, d_in)` of the module whose tensors have these shapes; None if they do not fit the stored rank."""
        if self.squared:
            up, down, other_up, other_down = shapes
            if (up, down) != (other_up, other_down):
                return None
        else:
            down, up = shapes
        match up, down:
            case (int(d_out), int(of_up)), (int(of_down), int(d_in)) if (
                of_up == of_down == rank and d_in and d_out
            ):
                return d_out, d_in
            case _:
                return None

    def factors(self, parts: Sequence[Any]) -> tuple[Any, Any]:
        """A `[rank, d_in]` and B `[d_out, rank]`, from a module's tensors; of numpy or torch alike.

        (P Q) * (R S), entry by entry, is the product of the row-wise products of P with R and of Q with S.
        """
        if not self.squared:
            a, b = parts
            return a, b
        p, q, r, s = parts
        a = (q[:, None, :] * s[None, :, :]).reshape(-1, q.shape[1])
        b = (p[:, :, None] * r[:, None, :]).reshape(p.shape[0], -1)
        return a, b


LORA: Final = Form(
    "LORA",
    ("lora_A.weight", "lora_B.weight"),
    squared=False,
    merges=None,
    about="the update is scaling · B A: of linear modules, the head and the embedding",
    other_names={"lora_embedding_A": "lora_A.weight", "lora_embedding_B": "lora_B.weight"},
)
LOHA: Final = Form(
    "LOHA",
    ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"),
    squared=True,
    merges=("cat",),
    about="two products, multiplied entry by entry: a LoRA of the square of its rank, which may be at most 16",
)
IA3: Final = Form(
    "IA3",
    (),
    squared=False,
    merges=("cat",),
    about="gates on what a module is given or says (arXiv 2205.05638); there are no factors",
)
FORMS: Final[Mapping[str, Form]] = {form.kind: form for form in (LORA, LOHA, IA3)}
