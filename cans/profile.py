"""What `cans profile` does: measure with progress, write, and show as tables."""

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from bus.errors import ConfigurationError
from partition.bottleneck import load as load_bottleneck
from partition.bottleneck import require_used
from partition.networks.zoo import load_model
from partition.partitioned import build
from partition.profiles.calibration import calibrate
from partition.profiles.profile_file import Profile, as_json

_KINDS_SHOWN = 12


@dataclass(frozen=True, slots=True)
class ProfileSettings:
    """What to measure, and where to write it; as the flags of `cans profile`."""

    model: str
    out: Path
    repeats: int = 40
    threads: int = 1
    weights: Path | None = None
    weights_seed: int = 0
    codecs: tuple[str, ...] | None = None
    bottlenecks: tuple[Path, ...] = ()
    exits: Path | None = None

    def __post_init__(self) -> None:
        """Refuse a file that cannot be written before some seconds are spent."""
        if not self.out.parent.is_dir():
            raise ConfigurationError(
                f"--out {self.out} cannot be written: make the folder {self.out.parent} first"
            )


def measure(settings: ProfileSettings) -> tuple[Profile, str]:
    """Measure this machine, with a bar on standard error; write the file; return both.

    Interrupted, it leaves an older file as it was.

    Raises:
        ConfigurationError: no such model, codec or file.
    """
    network = load_model(
        settings.model, weights=settings.weights, seed=settings.weights_seed, exits=settings.exits
    )
    trained = [load_bottleneck(path) for path in settings.bottlenecks]
    model = build(network, codecs=settings.codecs, bottlenecks=trained, threads=settings.threads)
    require_used(trained, [model.hash])
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # Redrawn by the rounds alone: a thread that draws meanwhile would be timed too.
    bar = Progress(*columns, console=Console(stderr=True), transient=True, auto_refresh=False)
    with bar:
        task = bar.add_task(f"timing {model.name}, leave this machine alone", total=settings.repeats)

        def done(rounds: int) -> None:
            bar.update(task, completed=rounds)
            bar.refresh()

        profile = calibrate(model, repeats=settings.repeats, threads=settings.threads, on_round=done)
    profile.save(settings.out)
    return profile, as_json(profile).decode()


def tables_of(profile: Profile) -> list[Table]:
    """Return the segments, and the operators by kind."""
    machine = profile.machine
    segments = Table(
        title=f"{profile.name} {profile.weights} on {machine.processor}, {machine.cores} cores, "
        f"{profile.conditions.threads} torch thread(s), {profile.repeats} rounds",
        caption="spread: distance of the quartiles, over the median",
    )
    _columns(segments, "cut", "segment ends with", "median ms", "spread", "share")
    whole_ms = profile.whole.median_ms
    for each in profile.segments:
        segments.add_row(
            str(each.stop), each.name, f"{each.time.median_ms:.3f}", f"{each.time.spread:.0%}",
            _share(each.time.median_ms, whole_ms),
        )  # fmt: skip
    segments.add_section()
    segments.add_row("", "whole network", f"{whole_ms:.3f}", f"{profile.whole.spread:.0%}", "")
    normalise = profile.normalise
    segments.add_row("", "preprocessing", f"{normalise.median_ms:.3f}", f"{normalise.spread:.0%}", "")
    return [segments, _operators(profile)] if profile.operators else [segments]


def _operators(profile: Profile) -> Table:
    kinds: dict[str, list[float]] = {}
    for each in profile.operators:
        kinds.setdefault(each.kind, []).append(each.time.median_ms)
    total_ms = sum(sum(times) for times in kinds.values())
    table = Table(title="Operators by kind, each timed by itself")
    _columns(table, "calls", "operator", "sum of medians, ms", "share")
    ranked = sorted(kinds.items(), key=lambda kind: -sum(kind[1]))
    for kind, times in ranked[:_KINDS_SHOWN]:
        table.add_row(str(len(times)), kind, f"{sum(times):.3f}", _share(sum(times), total_ms))
    rest = [time for _, times in ranked[_KINDS_SHOWN:] for time in times]
    if rest:
        table.add_row(str(len(rest)), "others", f"{sum(rest):.3f}", _share(sum(rest), total_ms))
    return table


def _columns(table: Table, *names: str) -> None:
    for position, name in enumerate(names):
        table.add_column(name, justify="left" if position == 1 else "right")


def _share(part_ms: float, whole_ms: float) -> str:
    return f"{part_ms / whole_ms:.1%}" if whole_ms else "-"
