"""The table of outages, as a page."""

from collections.abc import Mapping
from typing import Any

LONGEST_SAYING = 220


def page(report: Mapping[str, Any]) -> str:
    """What came of every outage, for `benchmarks/results/`."""
    totals = (
        f"{report['cases']} cases: lost {report['lost']}, doubled {report['doubled']}, chain intact "
        f"{str(report['chain_intact']).lower()} (docs/verify_chain.py), longest recovery "
        f"{report['longest_recovery_seconds']} s."
    )
    lines = [
        "# Outages",
        "",
        "Every outage at every moment of a job, on real servers and one worker; `make faults` writes this page.",
        "Seconds are from the end of the outage to the last answer. What the worker logged stands below.",
        "",
        totals,
        "",
        "| outage | moment | lost | doubled | seconds |",
        "|---|---|---|---|---|",
    ]
    said: dict[str, dict[str, None]] = {}
    for one in report["outcomes"]:
        lines.append(
            f"| {one['outage']} | {one['moment']} | {one['lost']} | {one['doubled']} | {one['seconds']} |"
        )
        said.setdefault(one["outage"], {}).update(dict.fromkeys(one["said"]))
    lines += ["", "## What the operator reads", ""]
    for outage, reasons in said.items():
        lines.append(f"- **{outage}**" + ("" if reasons else ": nothing, and nothing need be done"))
        lines += [f"  - {_shown(reason)}" for reason in reasons]
    return "\n".join(lines) + "\n"


def _shown(reason: str) -> str:
    """A line of Markdown; ports differ from run to run."""
    text = " ".join(reason.split()).replace("|", "/")
    return text if len(text) <= LONGEST_SAYING else f"{text[:LONGEST_SAYING]} …"
