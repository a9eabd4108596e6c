"""`cans profile`."""

import sys
from pathlib import Path

import click

from cans.settings import Command

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command("profile", cls=Command)
@click.argument("model", default="mobilenet_v2")
@click.option("--out", type=_FILE, default=Path("profile.json"), help="File to write.")
@click.option("--repeats", type=click.IntRange(min=3, max=10_000), default=40, help="Rounds that count.")
@click.option("--threads", type=click.IntRange(min=1), default=1, help="torch threads.")
@click.option("--weights", type=_FILE, help="Weights of the network; seeded ones when not given.")
@click.option("--weights-seed", default=0, help="Seed of weights that come from no file.")
@click.option("--codecs", help="Codecs, comma separated; all when not given.")
@click.option(
    "--bottleneck",
    "bottlenecks",
    multiple=True,
    type=_FILE,
    help="File of `cans train bottleneck`: times its arm too. Repeat for more.",
)
@click.option("--exits", type=_FILE, help="File of `cans train exits`: times those exits.")
@click.option("--json", "for_programs", is_flag=True, help="Print what is written, for programs.")
def profile(
    *,
    model: str,
    out: Path,
    repeats: int,
    threads: int,
    weights: Path | None,
    weights_seed: int,
    codecs: str | None,
    bottlenecks: tuple[Path, ...],
    exits: Path | None,
    for_programs: bool,
) -> None:
    """Measure what each part of a network takes this machine.

    MODEL is a built-in network, FILE.pt2, or module:callable, with the size of its frames behind it where it
    is not 224x224 (mynets:small@96x96). Segments between cuts, operators, codecs and early exits are timed
    once a round, warm, which takes some seconds and wants an idle machine. The file says how far each time
    spreads, and warns if it is not to be trusted: a busy machine, one that grew hot or slow.

    \b
    Who reads it:
      cans device --profile FILE       ANS, Neurosurgeon, and the warm start
      cans device --emulate FILE       target times of a slower device
      cans simulate                    world.network, a file in place of a built-in table

    \b
    Examples:
      cans profile --out pi4.json
      cans profile resnet18 --repeats 100 --json | jq '.segments[] | [.name, .time.median_ms]'
      cans simulate lab/experiments/ordering.toml --set world.network='"pi4.json"'
    """  # noqa: D301 - \b is click's mark for "do not wrap"
    from rich.console import Console  # noqa: PLC0415 - see cans/commands/__init__.py

    from cans.profile import ProfileSettings, measure, tables_of  # noqa: PLC0415

    chosen = tuple(codecs.split(",")) if codecs else None
    profile, payload = measure(
        ProfileSettings(model, out, repeats, threads, weights, weights_seed, chosen, bottlenecks, exits)
    )
    if for_programs:
        click.echo(payload, nl=False)
    else:
        console = Console(width=None if sys.stdout.isatty() else 110)
        for table in tables_of(profile):
            console.print(table)
    for warning in profile.warnings:
        click.echo(f"not to be trusted: {warning}", err=True)
    click.echo(f"{out}: times, arms and contexts of {profile.name}", err=True)
