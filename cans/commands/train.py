"""`cans train`: bottlenecks and exits for a network, from images alone."""

import functools
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from cans.settings import Command, Parts

if TYPE_CHECKING:
    from partition.networks.exit_heads import Info
    from partition.partitioned import PartitionedModel
    from partition.training.checkpoint import Progress, Training
    from partition.training.data import Images
    from partition.training.labels import Classes

T = TypeVar("T")
_FOLDER = click.Path(file_okay=False, path_type=Path)
_FILE = click.Path(dir_okay=False, path_type=Path)
_EPILOG = (
    "Settings: flags, then environment.\n\n"
    "Exit codes: 0 done, 1 failed while running, 2 a setting cannot work, 130 Ctrl-C, saved."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What every training is given: its network, its images, and how it is run."""

    model: str
    images: Path
    held_out: Path | None
    limit: int | None
    weights: Path | None
    weights_seed: int
    steps: int
    batch: int
    seed: int
    threads: int
    save_every: int
    out: Path
    resume: bool

    @property
    def checkpoint(self) -> Path:
        """Where a training that is to end in `out` keeps its state."""
        return self.out.with_name(self.out.name + ".checkpoint")


def _training(
    *, steps: int, batch: int, save_every: int, out: str, held_out: str
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return what adds the options of `Given`, with these defaults, and hands them over as one."""
    options = (
        click.option("--images", type=_FOLDER, required=True, help="Folder of images to learn from."),
        click.option("--held-out", type=_FOLDER, help=held_out),
        click.option("--limit", type=click.IntRange(min=1), help="The most images to take from each folder."),
        click.option("--weights", type=_FILE, help="The network's weights; seeded ones when not given."),
        click.option("--weights-seed", type=int, default=0, help="Seed of weights that come from no file."),
        click.option("--steps", type=click.IntRange(min=1), default=steps, help="Training steps."),
        click.option("--batch", type=click.IntRange(min=1), default=batch, help="Images a step."),
        click.option("--seed", type=int, default=0, help="Of the training."),
        click.option("--threads", type=click.IntRange(min=1), default=1, help="Threads of torch."),
        click.option(
            "--save-every",
            type=click.IntRange(min=1),
            default=save_every,
            help="Steps between checkpoints.",
        ),
        click.option("--out", type=_FILE, default=Path(out), help="File to write."),
        click.option("--resume", is_flag=True, help="Go on from the checkpoint beside --out."),
    )

    def add(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def called(**said: Any) -> None:  # noqa: ANN401 - whatever the options hold
            given = Given(**{field.name: said.pop(field.name) for field in fields(Given)})
            function(given, **said)

        for option in reversed(options):
            called = option(called)
        return called

    return add


@click.group("train", cls=Parts)
def train() -> None:
    """Train what makes a network cheaper to split, from images alone; exits may learn from labels too.

    A killed or interrupted training goes on with --resume, and ends as if nothing had happened.
    """


@train.command("bottleneck", cls=Command, epilog=_EPILOG)
@click.argument("model")
@click.option(
    "--cut",
    required=True,
    help="The cut, by name (features.3) or number: of an arm, not of a place in the graph.",
)
@click.option(
    "--ratio",
    type=click.FloatRange(min=1.0),
    default=16.0,
    help="How many times smaller than the image, as raw bytes, it must be.",
)
@click.option("--bits", type=click.Choice(["4", "8"]), default="4", help="Of each value that is sent.")
@_training(
    steps=600,
    batch=16,
    save_every=50,
    out="bottleneck.safetensors",
    held_out="Folder of others to measure on; a quarter of --images if not.",
)
def bottleneck(given: Given, *, cut: str, ratio: float, bits: str) -> None:
    """Train a small encoder and decoder around one cut, so that little crosses it.

    MODEL is mobilenet_v2, resnet18, module:callable or module:callable@HxW. What is written is an arm of its
    own: hand the file to `cans device` and to `cans edge` with --bottleneck.

    \b
    Examples:
      cans train bottleneck mobilenet_v2 --cut 3 --images photos --weights mobilenet_v2.pth
      cans train bottleneck resnet18 --cut 2 --images photos --ratio 64 --resume
    """  # noqa: D301 - \b is click's mark for "do not wrap"
    _require_free(given)
    from partition.training.bottleneck import BottleneckTraining, Recipe  # noqa: PLC0415 - as below

    model, images = _opened(given)
    number = _number_of(cut, model)
    click.echo(f"cut {number}: {model.cuts[number].name}", err=True)
    recipe = Recipe(
        cut=number, ratio=ratio, bits=int(bits), steps=given.steps, batch=given.batch, seed=given.seed
    )
    info = _run(BottleneckTraining(model, images, recipe), given)
    click.echo(
        f"{given.out}: bottleneck-{info.hash} at cut {number} ({info.cut}), {info.payload_bytes:.0f} bytes a "
        f"frame, agreement {info.agreement:.3f} on {info.held_out} held-out images"
    )


@train.command("exits", cls=Command, epilog=_EPILOG)
@click.argument("model")
@click.option("--after", required=True, help="Cuts, by name or number, comma separated, in order.")
@click.option("--agreement", type=float, default=0.99, help="Share of the network's answers that must stay.")
@click.option(
    "--labels",
    metavar="FILE",
    help="Learn labels, not the network's answers: images lie in DIR/CLASS/, and the file says which output "
    'each CLASS is, as JSON {"cat": 281} or "cat 281" a line. The word folders: CLASS is the number itself.',
)
@_training(
    steps=400,
    batch=32,
    save_every=100,
    out="exits.safetensors",
    held_out="Folder of others: half calibrate, half measure.",
)
def exits(given: Given, *, after: str, agreement: float, labels: str | None) -> None:
    """Train early exits at cuts of any network, and choose when each may answer.

    MODEL is mobilenet_v2, resnet18, module:callable or module:callable@HxW. An exit answers where its
    confidence reaches a threshold; the thresholds keep, of all frames, --agreement of the whole network's
    answers. That holds with --labels too: exits that know better than the network then answer less often.

    \b
    Examples:
      cans train exits mobilenet_v2 --after features.6,features.14 --images photos
      cans train exits resnet18 --after 2 --images photos --agreement 0.95
      cans train exits resnet18 --after 2 --images photos --labels classes.json
    """  # noqa: D301 - \b is click's mark for "do not wrap"
    _require_free(given)
    from partition.training.exits import ExitsTraining, Recipe  # noqa: PLC0415 - as below
    from partition.training.labels import read_classes  # noqa: PLC0415 - as below

    classes = None if labels is None else read_classes(labels)
    recipe = Recipe(
        tuple(after.split(",")),
        agreement=agreement,
        steps=given.steps,
        batch=given.batch,
        seed=given.seed,
    )
    info = _run(ExitsTraining(*_opened(given, classes), recipe), given)
    _show_rules(info)
    exits_written = "1 exit" if len(info.rules) == 1 else f"{len(info.rules)} exits"
    click.echo(f"{given.out}: {exits_written} of {info.model}, model {info.network}")


def _number_of(cut: str, model: "PartitionedModel") -> int:
    """Return the index of a cut that stands for a bottleneck, given by its name or number."""
    from bus.errors import ConfigurationError  # noqa: PLC0415 - see cans/commands/__init__.py

    for each in model.cuts[1:-1]:
        if cut in {each.name, str(each.index)}:
            return each.index
    known = ", ".join(f"{each.index} {each.name}" for each in model.cuts[1:-1])
    raise ConfigurationError(f"{model.name} has no cut {cut!r} for a bottleneck: choose from {known}")


def _show_rules(info: "Info") -> None:
    """Print a row a rule, measured on held-out images that chose no threshold."""
    from rich.console import Console  # noqa: PLC0415 - see cans/commands/__init__.py
    from rich.table import Table  # noqa: PLC0415 - as above

    table = Table(
        title=f"alone on this device, {info.held_out} held-out images, wanted agreement {info.target}"
    )
    labelled = info.whole_accuracy is not None
    columns = ["exit after", "sure from", "answers", "of these right", "of all right", "ms to it", "mean ms"]
    for column in columns + ["accuracy", "accuracy together"] * labelled:
        name = column == "exit after"
        table.add_column(column, justify="left" if name else "right", overflow="fold" if name else "ellipsis")
    for rule in info.rules:
        table.add_row(
            rule.after,
            f"{rule.threshold:.3f}" if rule.threshold <= 1.0 else "never",
            f"{rule.answered:.3f}",
            f"{rule.agreement:.3f}" if rule.answered else "-",
            f"{rule.kept:.3f}",
            f"{rule.trunk_ms + rule.head_ms:.1f}",
            f"{rule.latency_ms:.1f}",
            *_shares(rule.accuracy, rule.accuracy_together),
        )
    whole = _shares(info.whole_accuracy, info.whole_accuracy)
    table.add_row("none", "", "0.000", "", "1.000", "", f"{info.whole_ms:.1f}", *whole)
    Console(width=None if sys.stdout.isatty() else 110).print(table)


def _shares(*found: float | None) -> list[str]:
    return [f"{share:.3f}" for share in found if share is not None]


def _require_free(given: Given) -> None:
    """Say before some minutes are spent that nothing could be written, or that as many would be lost."""
    from bus.errors import ConfigurationError  # noqa: PLC0415 - see cans/commands/__init__.py

    out = given.out
    if not out.parent.is_dir():
        raise ConfigurationError(f"--out {out} cannot be written: make the folder {out.parent} first")
    if given.checkpoint.exists() and not given.resume:
        raise ConfigurationError(
            f"{given.checkpoint} holds a training that was stopped: go on with --resume, or remove it"
        )


def _opened(given: Given, classes: "Classes | None" = None) -> tuple["PartitionedModel", "Images"]:
    """Return the network, cut, and the images, read."""
    from partition.networks.zoo import load_model  # noqa: PLC0415 - see cans/commands/__init__.py
    from partition.partitioned import build  # noqa: PLC0415 - as above
    from partition.training.data import read_images  # noqa: PLC0415 - as above

    network = load_model(given.model, weights=given.weights, seed=given.weights_seed)
    if network.weights_label.startswith("seeded"):
        click.echo(
            f"{network.weights_label}: the weights are drawn, so the answers that are learnt mean nothing; "
            "give yours with --weights, unless the model makes its own",
            err=True,
        )
    model = build(network, threads=given.threads)
    height, width = model.input_size[:2]
    images = read_images(
        given.images,
        (height, width),
        held_out=given.held_out,
        limit=given.limit,
        seed=given.seed,
        classes=classes,
    )
    click.echo(f"{len(images.train)} images to learn from, {len(images.held_out)} held out", err=True)
    return model, images


def _run(training: "Training[T]", given: Given) -> T:
    """Train to the end under a progress bar, write the file, and return what it says of itself.

    Ctrl-C ends it after the step in progress, saved.
    """
    from rich.console import Console  # noqa: PLC0415 - see cans/commands/__init__.py
    from rich.progress import Progress as Bar  # noqa: PLC0415 - as above

    from partition.training.checkpoint import run  # noqa: PLC0415 - as above

    with Bar(console=Console(stderr=True)) as bar, _interrupted() as interrupted:
        task = bar.add_task("training", total=training.steps)

        def show(progress: "Progress") -> None:
            said = f"loss {progress.loss:.4f}"
            if progress.agreement is not None:
                bar.console.print(
                    f"step {progress.step}: {said}, held-out agreement {progress.agreement:.3f}"
                )
            bar.update(task, completed=progress.step, description=said)

        ended = run(
            training,
            given.checkpoint,
            resume=given.resume,
            every=given.save_every,
            report=show,
            stop=interrupted.is_set,
        )
    if ended:
        with suppress(KeyboardInterrupt):
            info = training.save(given.out)  # calibrates and measures first, which may take as long
            given.checkpoint.unlink(missing_ok=True)
            return info
    click.echo(f"saved in {given.checkpoint}: go on with --resume", err=True)
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
