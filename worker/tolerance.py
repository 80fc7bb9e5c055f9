"""How far rounding moves a score when the same answer is computed again; docs/lab-log.md says how it was measured."""

from typing import Final

SCORES: Final = {("cpu", "float32"): 1e-3, ("cpu", "bfloat16"): 0.5, ("cpu", "float16"): 0.1}
"""(device, dtype) → nats a token. A batch of another size, other threads or another processor round otherwise.

float16 has three bits more than bfloat16; it was measured with a tiny model only, where it differed by a tenth as much.
"""


def tolerance(device: str, dtype: str) -> float:
    """Nats by which a token's log-likelihood may differ; a device that was not measured has the figure of a CPU."""
    return SCORES.get((device, dtype), SCORES["cpu", dtype])
