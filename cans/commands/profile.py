"""`cans profile`."""

from pathlib import Path

import click

from cans.settings import Command


@click.command("profile", cls=Command)
@click.option("--model", default="mobilenet_v2", help="A built-in network, module:callable or FILE.pt2.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("profile.json"),
    help="File to write.",
)
@click.option("--repeats", type=click.IntRange(min=3, max=10_000), default=40, help="Runs of each part.")
def profile(*, model: str, out: Path, repeats: int) -> None:
    """Measure what each part of a network takes this machine.

    Heads, tails, codecs and early exits are timed one by one, which takes some seconds and wants an idle
    machine. The file holds arms and contexts too: it is all that `cans simulate` needs of a network.

    \b
    Examples:
      cans profile --out pi4.json
      cans simulate lab/experiments/ordering.toml --set world.network='"pi4.json"'
    """  # noqa: D301 - \b is click's mark for "do not wrap"
    from bus.errors import ConfigurationError  # noqa: PLC0415 - see cans/commands/__init__.py

    if not out.parent.is_dir():  # said before some seconds are spent
        raise ConfigurationError(f"--out {out} cannot be written: make the folder {out.parent} first")
    from lab.network_table import measure_table  # noqa: PLC0415 - see cans/commands/__init__.py

    click.echo(f"measuring {model}, while this machine is quiet", err=True)
    measure_table(model, repeats=repeats).save(out)
    click.echo(f"{out}: arms, contexts and times of {model}")
