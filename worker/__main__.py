"""`python -m loradex.worker`: answers jobs until SIGTERM."""

import logging
import os
import sys

from pydantic import ValidationError

from loradex.errors import LoradexError
from loradex.logs import log_as_json, told_end

LOG = logging.getLogger("loradex.worker")
WRONG_SETTING = 2


def main() -> int:
    """Serve; the exit code."""
    log_as_json()
    # Read when transformers is imported: bars are no lines.
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    from loradex.worker.app import serve
    from loradex.worker.settings import WorkerSettings

    try:
        serve(WorkerSettings())
    except LoradexError as error:
        told_end(LOG.name, error.code, str(error))
        return error.exit_code
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = "LORADEX_" + "_".join(str(part) for part in first["loc"]).upper()
        told_end(LOG.name, "wrong_setting", f"{name}: {first['msg']}")
        return WRONG_SETTING
    except Exception:
        LOG.exception("program.crashed")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
