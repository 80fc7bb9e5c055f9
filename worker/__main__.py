"""`python -m loradex.worker`: answers jobs until SIGTERM."""

import logging
import os
import sys

from pydantic import ValidationError

from loradex.errors import LoradexError
from loradex.logs import FIELDS, log_as_json, told_end

LOG = logging.getLogger("loradex.worker")
WRONG_SETTING = 2


def main() -> int:
    """Serve; the exit code."""
    log_as_json()
    # Read when they are imported: bars are no lines.
    for name in ("HF_HUB_DISABLE_PROGRESS_BARS", "TQDM_DISABLE"):
        os.environ.setdefault(name, "1")
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
    except Exception as error:
        # This thread sees no job, so the text may be told.
        LOG.exception("program.crashed", extra={FIELDS: {"reason": f"{type(error).__name__}: {error}"}})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
