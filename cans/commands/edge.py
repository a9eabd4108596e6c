"""`cans edge`."""

from pathlib import Path
from typing import Any

import click

from cans.settings import Command
from cans.shared_options import (
    backend_option,
    broker_address,
    broker_options,
    log_options,
    models_dir_option,
)


@click.command("edge", cls=Command)
@click.option("--id", "id_", default="edge-1", help="Name of this edge worker on the bus.")
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="NAME[=WEIGHTS]",
    help="Network to serve: a built-in one, module:callable or FILE.pt2; =FILE loads its weights. "
    "Repeat for more. When not given: mobilenet_v2, or the models of --models-dir.",
)
@models_dir_option(help_="Serve every model of this folder (`cans models`) too, and follow it while running.")
@click.option("--poll-s", default=2.0, help="Seconds between two looks into the model folder.")
@click.option(
    "--grace-s", default=60.0, help="Seconds that a model which was removed from it is still answered."
)
@click.option("--weights-seed", default=0, help="Seed of weights that come from no file; the devices' own.")
@click.option(
    "--codecs",
    help="Codecs (docs/codecs.md), comma separated; five when not given. The devices must have the same.",
)
@click.option(
    "--bottleneck",
    "bottlenecks",
    type=click.Path(dir_okay=False, path_type=Path),
    multiple=True,
    help="File of `cans train bottleneck`, for the network it was trained with. Repeat for more.",
)
@click.option("--workers", type=click.IntRange(min=1), default=1, help="Tails that run at once.")
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    help="torch threads for each tail; not given 1, or with --backend auto what is measured to be best.",
)
@backend_option
@click.option(
    "--device",
    "torch_device",
    type=click.Choice(["cpu", "cuda", "auto"]),
    default="cpu",
    help="Where torch runs.",
)
@click.option(
    "--waiting", type=click.IntRange(min=1), default=16, help="Requests that may wait; more are rejected."
)
@click.option(
    "--largest-batch",
    type=click.IntRange(min=1),
    default=8,
    help="Frames of different devices that one run of a tail answers at most, where a try at the start "
    "finds that faster; 1 for one each.",
)
@click.option(
    "--slowness",
    default=1.0,
    help="Emulate an edge worker that computes so many times slower than this machine; it says so.",
)
@click.option(
    "--emulate",
    type=click.Path(dir_okay=False, path_type=Path),
    help="With --slowness: a file of cans profile, made on this machine, whose times are stretched.",
)
@click.option("--drain-s", default=5.0, help="Seconds that running tails may take when told to stop.")
@click.option("--metrics-s", default=5.0, help="Seconds between metrics messages.")
@click.option(
    "--state-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder that counts starts; without one they are told apart by the clock.",
)
@click.option("--wait-for-broker", is_flag=True, help="Wait until the broker is there, instead of ending.")
@click.option("--detail", default="", help="A sentence for people in the retained state.")
@broker_options
@log_options
def edge(
    *,
    id_: str,
    models: tuple[str, ...],
    models_dir: Path | None,
    poll_s: float,
    grace_s: float,
    weights_seed: int,
    codecs: str | None,
    bottlenecks: tuple[Path, ...],
    workers: int,
    threads: int | None,
    backend: str,
    torch_device: str,
    waiting: int,
    largest_batch: int,
    slowness: float,
    emulate: Path | None,
    drain_s: float,
    metrics_s: float,
    state_dir: Path | None,
    wait_for_broker: bool,
    detail: str,
    prefix: str,
    log_format: str,
    log_level: str,
    **broker: Any,  # noqa: ANN401 - the broker options, passed on whole
) -> None:
    """Run an edge worker: the tails that devices hand over.

    It announces which networks it serves and how loaded it is; devices find it by that. A request whose time
    is spent, or that finds the line full, is rejected with a reason, and its device finishes by itself.

    \b
    Examples:
      cans edge
      cans edge --id edge-2 --broker mqtt://broker.local --workers 2
      cans edge --model mobilenet_v2=mobilenet_v2.pth --model resnet18
      cans edge --models-dir models
    """  # noqa: D301 - \b is click's mark for "do not wrap"
    from cans.edge_root import run_edge_as  # noqa: PLC0415
    from cans.logs import configure_logs  # noqa: PLC0415 - see cans/commands/__init__.py
    from cans.running import run  # noqa: PLC0415
    from cans.version import __version__  # noqa: PLC0415
    from edge.settings import EdgeSettings, ModelChoice  # noqa: PLC0415

    configure_logs(style=log_format, level=log_level)
    if not models and models_dir is None:
        models = ("mobilenet_v2",)
    settings = EdgeSettings(
        id=id_,
        broker=broker_address(**broker),
        prefix=prefix,
        models=tuple(ModelChoice(*_choice(text)) for text in models),
        models_dir=models_dir,
        poll_s=poll_s,
        grace_s=grace_s,
        weights_seed=weights_seed,
        codecs=tuple(codecs.split(",")) if codecs else None,
        bottlenecks=bottlenecks,
        workers=workers,
        threads=threads,
        backend=backend,
        device=torch_device,
        waiting=waiting,
        largest_batch=largest_batch,
        drain_s=drain_s,
        metrics_s=metrics_s,
        state_dir=state_dir,
        wait_for_broker=wait_for_broker,
        version=__version__,
        detail=detail,
    )
    run(lambda: run_edge_as(settings, slowness, emulate))


def _choice(text: str) -> tuple[str, Path | None]:
    """Split NAME=WEIGHTS; a name may hold arguments as JSON, in which = means nothing."""
    end = text.rfind(")") + 1
    name, _, file = text[end:].partition("=")
    return text[:end] + name, Path(file) if file else None
