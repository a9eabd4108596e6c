"""`cans train`: bottlenecks and exits for a network, without labels."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cans.settings import Command

if TYPE_CHECKING:
    from partition.networks.exit_heads import Info
    from partition.training.checkpoint import Progress, Training

_FOLDER = click.Path(file_okay=False, path_type=Path)
_FILE = click.Path(dir_okay=False, path_type=Path)
_EPILOG = (
    "Settings: flags, then environment.\n\n"
    "Exit codes: 0 done, 1 failed while running, 2 a setting cannot work, 130 Ctrl-C, saved."
)


@click.group("train")
def train() -> None:
    """Train what makes a network cheaper to split; no labels are needed, only images.

    A killed or interrupted training goes on with --resume, and ends as if nothing had happened.
    """


@train.command("bottleneck", cls=Command, epilog=_EPILOG)
@click.argument("model")
@click.option("--cut", type=click.IntRange(min=1), required=True, help="Number of the cut.")
@click.option("--images", type=_FOLDER, required=True, help="Folder of images to learn from.")
@click.option(
    "--held-out", type=_FOLDER, help="Folder of others to measure on; a quarter of --images if not."
)
@click.option("--limit", type=click.IntRange(min=1), help="The most images to take from each folder.")
@click.option("--weights", type=_FILE, help="The network's weights; seeded ones when not given.")
@click.option("--weights-seed", type=int, default=0, help="Seed of weights that come from no file.")
@click.option(
    "--ratio",
    type=click.FloatRange(min=1.0),
    default=16.0,
    help="How many times smaller than the image, as raw bytes, it must be.",
)
@click.option("--bits", type=click.Choice(["4", "8"]), default="4", help="Of each value that is sent.")
@click.option("--steps", type=click.IntRange(min=1), default=600, help="Training steps.")
@click.option("--batch", type=click.IntRange(min=1), default=16, help="Images a step.")
@click.option("--seed", type=int, default=0, help="Of the training.")
@click.option("--threads", type=click.IntRange(min=1), default=1, help="Threads of torch.")
@click.option("--save-every", type=click.IntRange(min=1), default=50, help="Steps between checkpoints.")
@click.option("--out", type=_FILE, default=Path("bottleneck.safetensors"), help="File to write.")
@click.option("--resume", is_flag=True, help="Go on from the checkpoint beside --out.")
def bottleneck(
    *,
    model: str,
    cut: int,
    images: Path,
    held_out: Path | None,
    limit: int | None,
    weights: Path | None,
    weights_seed: int,
    ratio: float,
    bits: str,
    steps: int,
    batch: int,
    seed: int,
    threads: int,
    save_every: int,
    out: Path,
    resume: bool,
) -> None:
    """Train a small encoder and decoder around one cut, so that little crosses it.

    MODEL is mobilenet_v2, resnet18 or module:callable. What is written is an arm of its own: hand the file
    to `cans device` and to `cans edge` with --bottleneck.

    \b
    Examples:
      cans train bottleneck mobilenet_v2 --cut 3 --images photos --weights mobilenet_v2.pth
      cans train bottleneck resnet18 --cut 2 --images photos --ratio 64 --resume
    """  # noqa: D301 - \b is click's mark for "do not wrap"
    _require_folder(out)
    from partition.networks.zoo import load_model  # noqa: PLC0415 - as above
    from partition.partitioned import build  # noqa: PLC0415 - see cans/commands/__init__.py
    from partition.training.bottleneck import BottleneckTraining, Recipe  # noqa: PLC0415 - as above
    from partition.training.data import read_images  # noqa: PLC0415 - as above

    built = build(load_model(model, weights=weights, seed=weights_seed), threads=threads)
    found = read_images(images, _size(built.input_size), held_out=held_out, limit=limit, seed=seed)
    _say_found(len(found.train), len(found.held_out))
    recipe = Recipe(cut=cut, ratio=ratio, bits=int(bits), steps=steps, batch=batch, seed=seed)
    training = BottleneckTraining(built, found, recipe)
    _train(training, out, resume=resume, every=save_every)
    info = training.save(out)
    checkpoint_of(out).unlink(missing_ok=True)
    click.echo(
        f"{out}: bottleneck-{info.hash} at cut {cut} ({info.cut}), {info.payload_bytes:.0f} bytes a frame, "
        f"agreement {info.agreement:.3f} on {info.held_out} held-out images"
    )


@train.command("exits", cls=Command, epilog=_EPILOG)
@click.argument("model")
@click.option("--after", required=True, help="Cuts, by name or number, comma separated, in order.")
@click.option("--images", type=_FOLDER, required=True, help="Folder of images to learn from.")
@click.option("--held-out", type=_FOLDER, help="Folder of others: half calibrate, half measure.")
@click.option("--limit", type=click.IntRange(min=1), help="The most images to take from each folder.")
@click.option("--weights", type=_FILE, help="The network's weights; seeded ones when not given.")
@click.option("--weights-seed", type=int, default=0, help="Seed of weights that come from no file.")
@click.option("--agreement", type=float, default=0.99, help="Share of the network's answers that must stay.")
@click.option("--steps", type=click.IntRange(min=1), default=400, help="Training steps.")
@click.option("--batch", type=click.IntRange(min=1), default=32, help="Images a step.")
@click.option("--seed", type=int, default=0, help="Of the training.")
@click.option("--threads", type=click.IntRange(min=1), default=1, help="Threads of torch.")
@click.option("--save-every", type=click.IntRange(min=1), default=100, help="Steps between checkpoints.")
@click.option("--out", type=_FILE, default=Path("exits.safetensors"), help="File to write.")
@click.option("--resume", is_flag=True, help="Go on from the checkpoint beside --out.")
def exits(
    *,
    model: str,
    after: str,
    images: Path,
    held_out: Path | None,
    limit: int | None,
    weights: Path | None,
    weights_seed: int,
    agreement: float,
    steps: int,
    batch: int,
    seed: int,
    threads: int,
    save_every: int,
    out: Path,
    resume: bool,
) -> None:
    """Train early exits at cuts of any network, and choose when each may answer.

    MODEL is mobilenet_v2, resnet18 or module:callable. An exit answers where its confidence reaches a
    threshold; the thresholds keep, of all frames, --agreement of the whole network's answers.

    \b
    Examples:
      cans train exits mobilenet_v2 --after features.6,features.14 --images photos
      cans train exits resnet18 --after 2 --images photos --agreement 0.95
    """  # noqa: D301 - \b is click's mark for "do not wrap"
    _require_folder(out)
    from partition.networks.zoo import load_model  # noqa: PLC0415 - as above
    from partition.partitioned import build  # noqa: PLC0415 - see cans/commands/__init__.py
    from partition.training.data import read_images  # noqa: PLC0415 - as above
    from partition.training.exits import ExitsTraining, Recipe  # noqa: PLC0415 - as above

    built = build(load_model(model, weights=weights, seed=weights_seed), threads=threads)
    found = read_images(images, _size(built.input_size), held_out=held_out, limit=limit, seed=seed)
    _say_found(len(found.train), len(found.held_out))
    recipe = Recipe(tuple(after.split(",")), agreement=agreement, steps=steps, batch=batch, seed=seed)
    training = ExitsTraining(built, found, recipe)
    _train(training, out, resume=resume, every=save_every)
    info = training.save(out)
    checkpoint_of(out).unlink(missing_ok=True)
    _show_rules(info)
    click.echo(f"{out}: {len(info.rules)} exits of {info.model}, model {info.network}")


def _show_rules(info: "Info") -> None:
    """Print a row a rule, measured on held-out images that chose no threshold."""
    from rich.console import Console  # noqa: PLC0415 - see cans/commands/__init__.py
    from rich.table import Table  # noqa: PLC0415 - as above

    table = Table(
        title=f"alone on this device, {info.held_out} held-out images, wanted agreement {info.target}"
    )
    for column in (
        "exit after",
        "sure from",
        "answers",
        "of these right",
        "of all right",
        "ms to it",
        "mean ms",
    ):
        table.add_column(column, justify="left" if column == "exit after" else "right")
    for rule in info.rules:
        table.add_row(
            rule.after,
            f"{rule.threshold:.3f}" if rule.threshold <= 1.0 else "never",
            f"{rule.answered:.3f}",
            f"{rule.agreement:.3f}",
            f"{rule.kept:.3f}",
            f"{rule.trunk_ms + rule.head_ms:.1f}",
            f"{rule.latency_ms:.1f}",
        )
    table.add_row("none", "", "0.000", "", "1.000", "", f"{info.whole_ms:.1f}")
    Console().print(table)


def checkpoint_of(out: Path) -> Path:
    """Return where a training that is to end in `out` keeps its state."""
    return out.with_name(out.name + ".checkpoint")


def _require_folder(out: Path) -> None:
    """Say before some minutes are spent that nothing could be written."""
    from bus.errors import ConfigurationError  # noqa: PLC0415 - see cans/commands/__init__.py

    if not out.parent.is_dir():
        raise ConfigurationError(f"--out {out} cannot be written: make the folder {out.parent} first")


def _say_found(train: int, held_out: int) -> None:
    click.echo(f"{train} images to learn from, {held_out} held out", err=True)


def _size(input_size: tuple[int, ...]) -> tuple[int, int]:
    return input_size[0], input_size[1]


def _train(training: "Training", out: Path, *, resume: bool, every: int) -> None:
    """Run a training under a progress bar; Ctrl-C ends it after the step in progress, saved."""
    from rich.console import Console  # noqa: PLC0415 - see cans/commands/__init__.py
    from rich.progress import Progress as Bar  # noqa: PLC0415 - as above

    from partition.training.checkpoint import run  # noqa: PLC0415 - as above

    checkpoint = checkpoint_of(out)
    console = Console(stderr=True)
    with Bar(console=console) as bar, _interrupted() as interrupted:
        task = bar.add_task("training", total=training.steps)

        def show(progress: "Progress") -> None:
            said = f"loss {progress.loss:.4f}"
            if progress.agreement is not None:
                said += f", held-out agreement {progress.agreement:.3f}"
                bar.console.print(f"step {progress.step}: {said}")
            bar.update(task, completed=progress.step, description=f"loss {progress.loss:.4f}")

        ended = run(training, checkpoint, resume=resume, every=every, report=show, stop=interrupted.is_set)
    if not ended:
        click.echo(f"saved in {checkpoint}: go on with --resume", err=True)
        raise click.exceptions.Exit(130)


@contextmanager
def _interrupted() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C into an event, so that no step is torn apart; a second one is as usual."""
    event = threading.Event()

    def note(*_: object) -> None:
        event.set()
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, before)
