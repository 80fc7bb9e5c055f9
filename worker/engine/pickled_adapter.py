"""An adapter's pickle into safetensors: a program of its own, which may open nothing and start nothing.

It reads `adapter_model.bin` from standard input and writes `adapter_model.safetensors` to standard output. torch
unpickles weights alone; should that ever be tricked, the process has no rights to do harm with.
"""

import io
import pickle
import sys
from collections.abc import Mapping

import torch
from safetensors.torch import save

from loradex.library.adapter_files import MAX_WEIGHTS_BYTES
from loradex.worker.engine.no_rights import give_up_rights

DTYPES = frozenset({torch.float32, torch.float16, torch.bfloat16})
MEMORY_BYTES = 512 << 20
"""What torch itself may need beside the weights."""


class NotWeightsError(ValueError):
    """The file holds something else than tensors by name."""


def converted(raw: bytes) -> bytes:
    """The same tensors as safetensors.

    Raises:
        NotWeightsError: It holds something else, or tensors of too many numbers.
        pickle.UnpicklingError: It is not a file of weights alone.
    """
    loaded = torch.load(io.BytesIO(raw), map_location="cpu", weights_only=True)
    if not isinstance(loaded, Mapping):
        raise NotWeightsError(f"it holds a {type(loaded).__name__}, not tensors by name")
    for name, tensor in loaded.items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
            raise NotWeightsError("it holds more than tensors by name")
        if tensor.dtype not in DTYPES or tensor.layout != torch.strided:
            raise NotWeightsError(f"{name} is a {tensor.layout} tensor of {tensor.dtype}")
    # A tensor of one number may claim any size; the bytes are counted before they are made.
    if sum(tensor.numel() * tensor.itemsize for tensor in loaded.values()) > MAX_WEIGHTS_BYTES:
        raise NotWeightsError(f"its tensors have more than {MAX_WEIGHTS_BYTES} bytes")
    content: bytes = save({name: tensor.detach().clone().contiguous() for name, tensor in loaded.items()})
    return content


def _warm_up() -> None:
    """Let torch load all of itself that it needs, while it may still open files."""
    sample = io.BytesIO()
    torch.save({"x": torch.zeros(2)}, sample)
    converted(sample.getvalue())


def main() -> int:
    """Exit code 1 says on standard error what is wrong."""
    torch.set_num_threads(1)
    _warm_up()
    raw = sys.stdin.buffer.read(MAX_WEIGHTS_BYTES)
    give_up_rights(memory=4 * len(raw) + MEMORY_BYTES, output=2 * MAX_WEIGHTS_BYTES)
    try:
        sys.stdout.buffer.write(converted(raw))
        sys.stdout.buffer.flush()
    except NotWeightsError as error:
        reason = str(error)
    except pickle.UnpicklingError:
        reason = "it asks for more than tensors, and could run code"
    except MemoryError:
        reason = "it needs too much memory"
    except Exception as error:  # noqa: BLE001 - whatever a strange file leads to is the file's fault
        reason = f"it is broken ({type(error).__name__})"
    else:
        return 0
    print(reason, file=sys.stderr)  # noqa: T201
    return 1


if __name__ == "__main__":
    sys.exit(main())
