"""`python -m loradex.worker`: answers jobs until SIGTERM."""

import sys

from loradex import terminal
from loradex.errors import LoradexError


def main() -> int:
    """Serve; the exit code."""
    from loradex.worker.app import serve
    from loradex.worker.settings import WorkerSettings

    try:
        serve(WorkerSettings())
    except LoradexError as error:
        terminal.complain(f"loradex: {error}")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
