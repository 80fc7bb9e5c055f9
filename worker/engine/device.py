"""A device that computes nothing more: after an illegal access or a failed assertion all that follows fails too."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from loradex.errors import DeviceBrokenError, LoradexError
from loradex.worker.engine.memory import is_out_of_memory


@contextmanager
def watched(device: torch.device) -> Iterator[None]:
    """Errors of what is done in it, beside those raised on purpose, are looked at: see `require_alive`."""
    try:
        yield
    except LoradexError:
        raise
    except Exception as error:
        require_alive(device, error)
        raise


def require_alive(device: torch.device, error: Exception) -> None:
    """Whether the device still computes after this error.

    Raises:
        DeviceBrokenError: It does not.
    """
    if is_out_of_memory(error):
        return
    if isinstance(error, torch.AcceleratorError) or not _computes(device):
        raise DeviceBrokenError(
            f"{device} computes nothing more in this process since {type(error).__name__}; start the worker anew, as a "
            "supervisor does, and see nvidia-smi and the kernel's log (Xid) if it happens again"
        ) from error


def _computes(device: torch.device) -> bool:
    if device.type == "cpu":
        return True
    try:
        return torch.ones(1, device=device).item() == 1
    except Exception as error:  # noqa: BLE001 - that is the answer
        return is_out_of_memory(error)
