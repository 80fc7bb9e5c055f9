"""All of `make faults`, to one end: `python -m tests.faults`, or `--short` for a few minutes of it."""

import subprocess
import sys
import traceback
from collections.abc import Callable
from typing import Annotated

import pytest
import typer
from tests.faults import campaign, outages, sources
from tests.faults.summary import Part, kept, page
from tests.repository import ROOT

from loradex import terminal

SHORT_JOBS, SHORT_WORKERS = 60, 2
SHORT_OUTAGES = "pooler"
HOSTILE = (
    *("pytest", "-q", "tests/faults/test_hostile_input.py", "tests/faults/test_openapi.py"),
    "tests/faults/test_settings_together.py",
)


def knock(*, short: bool) -> Part:
    """Anything at every door, by Hypothesis, and at those of the API by Schemathesis; settings of a text together."""
    profile = () if short else ("--hypothesis-profile=hostile",)
    done = subprocess.run([sys.executable, "-m", *HOSTILE, *profile], cwd=ROOT, check=False)
    fault = None if done.returncode == 0 else f"pytest ended with exit code {done.returncode}"
    return Part("hostile input", fault=fault)


def go_out(*, short: bool) -> Part:
    """Every outage at every moment of a job."""
    report = outages.run_outages(SHORT_OUTAGES if short else "", write=not short)
    return Part(
        f"{report['cases']} outages", report["lost"], report["doubled"], chain_intact=report["chain_intact"]
    )


def break_all(*, short: bool) -> Part:
    """The campaign: workers, hosts, Valkey, Postgres and connections break while jobs run."""
    jobs, workers = (SHORT_JOBS, SHORT_WORKERS) if short else (campaign.JOBS, campaign.WORKERS)
    faults = campaign.SHORT if short else campaign.FULL
    report = campaign.run_campaign(jobs, campaign.SEED, faults, workers=workers)
    if not short:
        campaign.write(report)
    broken = sum(report.faults.values())
    return Part(
        f"campaign of {report.jobs} jobs, {broken} faults",
        report.lost,
        report.duplicates,
        chain_intact=report.chain_intact,
    )


def fetch_all(*, short: bool) -> Part:
    """Adapters from a bucket, by processes that are killed, through a network that spoils replies."""
    wanted = sources.SHORT_ADAPTERS if short else sources.ADAPTERS
    report = sources.run_sources(wanted, sources.SHORT_KILLS if short else sources.KILLS)
    told = f"{report.fetched} of {wanted} were fetched, {report.wrong} wrong"
    fault = None if report.fetched == wanted and not report.wrong else told
    return Part(f"{wanted} adapters from a bucket, {report.kills} kills", fault=fault)


def finished(name: str, part: Callable[[], Part]) -> Part:
    """What came of a part; one that breaks off does not keep the others from running."""
    try:
        return part()
    except (Exception, pytest.skip.Exception) as error:  # noqa: BLE001 - it is a fault of the part, and is shown
        traceback.print_exc()
        return Part(name, fault=f"broke off: {type(error).__name__}")


def main(short: Annotated[bool, typer.Option(help="A little of each part.")] = False) -> None:
    """Run all parts and print one page; exit code 1 if a job was lost or doubled, a chain broke, or a part did."""
    parts = [
        finished("hostile input", lambda: knock(short=short)),
        finished("outages", lambda: go_out(short=short)),
        finished("adapters from a bucket", lambda: fetch_all(short=short)),
        finished("campaign", lambda: break_all(short=short)),
    ]
    terminal.say(page(parts))
    raise typer.Exit(0 if kept(parts) else 1)


if __name__ == "__main__":
    typer.run(main)
