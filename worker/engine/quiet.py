"""What libraries of the engine show to people at a terminal, which a log has no place for."""

from transformers.utils.logging import disable_progress_bar


def quiet() -> None:
    """No bars while weights are read."""
    disable_progress_bar()
