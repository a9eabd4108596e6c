"""`python -m lab.tune`: find the settings that policies play with, and write down how they were found."""

import argparse
import os
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bus.errors import ConfigurationError
from lab.simulator.jobs import Job
from lab.tune.plan import PLAN, Plan, read_plan
from lab.tune.record import JSON, PAGE, read_record, write_record
from lab.tune.tuner import Tuner

_ABOUT = """\
Plays the grid of each policy on tuning seeds and generated links, one knob at a time around the best, and
writes docs/results/tuning.json and tuning.md (every setting tried, its mean latency, the winner). The winners
are for you to copy into lab/simulator/spec/presets.py or the experiment's own section; a test holds both
against the record. A search that is interrupted goes on where it was when it is started again."""
_EXAMPLES = """\
examples:
  python -m lab.tune                                 everything, about 20 minutes of one core
  python -m lab.tune --only ans --only lin_ts        these two; what is recorded of others stays
  python -m lab.tune --seeds 1 --docs out/tuning     a quick look, written elsewhere"""


def tune(plan: Plan, policies: list[str], out: Path, processes: int, *, quiet: bool) -> Tuner:
    """Play until all searches have ended, with a bar on standard error."""
    tuner = Tuner(plan, policies, out)
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        disable=quiet,
    )
    with progress:
        bar = progress.add_task("runs so far", total=0)

        def ended(job: Job) -> None:
            progress.update(bar, advance=1, description=f"{job.policy}, seed {job.seed}")

        going = True
        while going:
            missing = sum(not job.done for _, _, jobs in tuner.wanted() for job in jobs)
            progress.update(bar, total=(progress.tasks[bar].total or 0) + missing)
            going = tuner.step(processes, ended)
    return tuner


def main(arguments: list[str] | None = None) -> int:
    """Read what was asked, play, write; 2 and one sentence where something cannot be."""
    parser = argparse.ArgumentParser(
        prog="python -m lab.tune",
        description=_ABOUT,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", action="append", metavar="POLICY", help="tune just this one; repeat")
    parser.add_argument("--seeds", type=int, help="instead of the plan's own; they start at its first")
    parser.add_argument(
        "--processes", type=int, default=os.cpu_count() or 1, help="runs at a time (default: one a processor)"
    )
    parser.add_argument(
        "--plan", type=Path, default=PLAN, help="what is tuned (default: lab/tune/tuning.toml)"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("out", "tuning"), help="folder of the runs (default: out/tuning)"
    )
    parser.add_argument(
        "--docs",
        type=Path,
        default=Path("docs", "results"),
        help=f"folder of {JSON} and {PAGE} (default: docs/results)",
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    asked = parser.parse_args(arguments)
    try:
        _tune_and_record(asked)
    except ConfigurationError as error:
        print(f"tune: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"tune: cannot write {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    return 0


def _tune_and_record(asked: argparse.Namespace) -> None:
    if asked.processes < 1 or (asked.seeds is not None and asked.seeds < 1):
        raise ConfigurationError("--processes and --seeds take a number from 1 on")
    plan = read_plan(asked.plan, seeds=asked.seeds)
    policies = asked.only or list(plan.policies)
    for policy in policies:
        if policy not in plan.policies:
            known = ", ".join(plan.policies)
            raise ConfigurationError(f"{asked.plan} has no grid for {policy!r}: choose from {known}")
    record = read_record(asked.docs)
    tuner = tune(plan, policies, asked.out, asked.processes, quiet=asked.quiet)
    found = record["policies"] | dict(tuner.entries())
    # In the plan's order, whatever was tuned when; what the plan has dropped goes.
    record["policies"] = {policy: found[policy] for policy in plan.policies if policy in found}
    write_record(record, asked.docs)
    for policy in policies:
        settings = ", ".join(f"{knob} = {value}" for knob, value in found[policy]["winner"].items())
        print(f"{policy}: {settings}")
    print(f"{asked.docs / JSON}, {asked.docs / PAGE}")


if __name__ == "__main__":
    sys.exit(main())
