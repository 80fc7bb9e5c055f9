"""How many mixtures vLLM is laid out for, and of which rank, from what is registered and what there is of memory."""

from dataclasses import dataclass
from typing import Final

from loradex.errors import InvalidArgumentError
from loradex.worker.engine.memory import DEVICE_BANK_SHARE, HOST_BANK_SHARE, USUAL_RANK, Expected

RANKS: Final = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""The ranks that vLLM can be laid out for."""
USUAL_LORAS: Final = 16
LEAST_LORAS: Final = 4
"""Rather than fewer mixtures at once, lower ranks are taken."""
MIXED: Final = 8
"""For so many adapters side by side there is rank, before there are places for more than a few mixtures."""


@dataclass(frozen=True)
class Slots:
    """What vLLM's LoRAs are laid out for.

    Attributes:
        loras: Distinct mixtures in one step; rows of others wait.
        rank: The greatest rank of a mixture, one of `RANKS`.
    """

    loras: int
    rank: int

    def bytes(self, width: int, itemsize: int) -> int:
        """What they take of the device.

        Args:
            width: Inputs and outputs of all modules together.
            itemsize: Bytes of a number.
        """
        return self.loras * self.rank * width * itemsize


def slots(
    loras: int | None,
    rank: int | None,
    expected: Expected,
    *,
    width: int,
    itemsize: int,
    free: int,
    shared: bool,
) -> Slots:
    """What is asked for; where nothing is, what suits.

    All mixtures together take a quarter of what is free at most: a sixteenth where other programs need memory too.
    There is rank for `cat` of all adapters that are registered, if 16 such mixtures fit into that; for eight adapters,
    if four do; for one in any case.

    Args:
        loras: Distinct mixtures in one step; None: 16, if they fit.
        rank: The greatest rank of a mixture; the least of `RANKS` that is as much is taken.
        expected: The adapters there are.
        width: Inputs and outputs of all modules together.
        itemsize: Bytes of a number.
        free: Bytes that are free of the device once the model is there.
        shared: Whether it is a host's memory.

    Raises:
        InvalidArgumentError: vLLM has no LoRAs of that rank.
    """
    require_rank(rank)
    share = free // (HOST_BANK_SHARE if shared else DEVICE_BANK_SHARE)
    taken = _at_least(rank or expected.rank * expected.adapters or USUAL_RANK)
    for adapters, wanted in ((MIXED, USUAL_LORAS), (1, LEAST_LORAS)):
        least = _at_least(rank or expected.rank * min(adapters, expected.adapters) or 1)
        while taken > least and Slots(min(loras or wanted, wanted), taken).bytes(width, itemsize) > share:
            taken = RANKS[RANKS.index(taken) - 1]
    fitting = share // Slots(1, taken).bytes(width, itemsize)
    return Slots(loras or max(1, min(USUAL_LORAS, fitting)), taken)


def require_rank(rank: int | None) -> None:
    """Raises `InvalidArgumentError` where vLLM has no LoRAs of that rank."""
    if rank is not None and rank > RANKS[-1]:
        raise InvalidArgumentError(
            f"LORADEX_VLLM_MAX_LORA_RANK is {rank}, and vLLM has LoRAs of rank {RANKS[-1]} at most"
        )


def _at_least(rank: int) -> int:
    return next((one for one in RANKS if one >= rank), RANKS[-1])
