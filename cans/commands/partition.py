"""`cans partition`."""

import shlex
import sys
from contextlib import redirect_stdout
from pathlib import Path

import click
from click.core import ParameterSource

from cans.settings import Command

_FILE = click.Path(dir_okay=False, path_type=Path)
_RANGE = (click.FloatRange(min=0.0, min_open=True), click.FloatRange(min=0.0, min_open=True))


@click.command("partition", cls=Command)
@click.argument("model", metavar="MODEL")
@click.option(
    "--input",
    "inputs",
    multiple=True,
    metavar="[NAME=]SHAPE[:DTYPE][<BOUND|=VALUE]",
    help="What it is called with, once an input, e.g. 1x3x224x224, input_ids=1x16:int64<30000 or "
    "lengths=1:int64=50: drawn, integers below BOUND, or VALUE throughout.",
)
@click.option(
    "--example",
    type=_FILE,
    help="Inputs from a file instead: .npy, .npz, .safetensors, .pt with tensors only, or an image.",
)
@click.option("--weights", type=_FILE, help="A state dictionary.")
@click.option("--weights-seed", type=int, default=0, help="Of weights that are drawn.")
@click.option("--batches", default="1,8", help="Batch sizes to check each cut with.")
@click.option("--all", "everything", is_flag=True, help="List every place, not only the useful ones.")
@click.option(
    "--measure/--no-measure",
    default=None,
    show_default="networks that classify frames are measured",
    help="Agreement and times of every arm, and which arms can be best; or only where it can be cut.",
)
@click.option(
    "--images",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Measure agreement on your images; built-in photographs when not given.",
)
@click.option("--frames", type=click.IntRange(min=1), default=24, help="At most so many images.")
@click.option("--codecs", help="Codecs, comma separated (docs/codecs.md); the default ones when not given.")
@click.option(
    "--bottleneck",
    "bottlenecks",
    type=_FILE,
    multiple=True,
    help="File of `cans train bottleneck`: an arm at its cut. Repeat for more.",
)
@click.option(
    "--min-agreement",
    type=float,
    default=0.0,
    help="Ban arms that give fewer frames, as a share, the uncut network's class.",
)
@click.option(
    "--packet-limit",
    type=click.IntRange(min=1),
    metavar="BYTES",
    show_default="8388608, as cans broker",
    help="Largest packet of your broker: arms that send more are banned, as a device bans them.",
)
@click.option(
    "--slowness", type=float, default=1.0, help="How many times as slow as this machine a device is."
)
@click.option("--mbit", nargs=2, type=_RANGE, default=(0.1, 100.0), help="Slowest and fastest link, Mbit/s.")
@click.option(
    "--speedup",
    nargs=2,
    type=_RANGE,
    default=(1.0, 50.0),
    help="How many times as fast as the device the slowest and the fastest edge worker are.",
)
@click.option("--threads", type=click.IntRange(min=1), default=1, help="torch threads.")
@click.option("--html", type=click.Path(path_type=Path), metavar="FILE", help="Write a page of it all.")
@click.option("--json", "for_programs", is_flag=True, help="One JSON object, for programs.")
def partition(
    *,
    model: str,
    inputs: tuple[str, ...],
    example: Path | None,
    weights: Path | None,
    weights_seed: int,
    batches: str,
    everything: bool,
    measure: bool | None,
    images: Path | None,
    frames: int,
    codecs: str | None,
    bottlenecks: tuple[Path, ...],
    min_agreement: float,
    packet_limit: int | None,
    slowness: float,
    mbit: tuple[float, float],
    speedup: tuple[float, float],
    threads: int,
    html: Path | None,
    for_programs: bool,
) -> None:
    """Show where a network can be cut, what crosses there, and which cuts with which codecs pay.

    MODEL is a built-in network (mobilenet_v2, resnet18), module:callable for anything that returns a
    torch.nn.Module, with arguments as JSON if it needs some, or an archive of torch.export.save (.pt2).
    Behind a callable may stand the size of its frames, as in mynets:small@96x96, where no --input is given.

    At a cut, head and tail are run one after the other and compared with the whole network, to the bit. A cut
    of a branching network may send several tensors. Useful are the cuts that can be best for some link and
    some edge worker: no earlier one sends less.

    A network that classifies frames is measured too: how often each arm, a cut with a codec, gives the
    uncut network's answer, what its parts take this machine, and which arms can be best anywhere within the
    link rates and edge workers that you name (docs/partition.md).

    \b
    Examples:
      cans partition mobilenet_v2 --html report.html
      cans partition resnet18 --images photos --min-agreement 0.99 --slowness 30
      cans partition 'mypackage.models:make({"width": 0.5})' --input 1x3x160x160
      cans partition 'mypackage:tagger' --input input_ids=1x16:int64<30000 --input mask=1x16:bool
      cans partition 'mypackage:listener' --input 1x50x80 --input lengths=1:int64=50
      cans partition network.pt2 --json | jq '.cuts[] | select(.useful) | {after, bytes}'

    \b
    It ends with 1 where a cut is not exact, and with 2 where the network cannot be cut, and says why.
    """  # noqa: D301 - \b is click's mark for "do not wrap"
    from cans.partition_json import as_json  # noqa: PLC0415 - see cans/commands/__init__.py
    from cans.partition_view import PartitionSettings, look, show  # noqa: PLC0415
    from partition.measured import Wanted  # noqa: PLC0415
    from partition.pruning.arm_costs import Ranges  # noqa: PLC0415

    wanted = Wanted(
        codecs=tuple(codecs.split(",")) if codecs else None,
        bottlenecks=bottlenecks,
        images=images,
        frames=frames,
        min_agreement=min_agreement,
        packet_limit_bytes=packet_limit or 0,
        slowness=slowness,
        ranges=Ranges(rate=(mbit[0] * 1e6, mbit[1] * 1e6), speedup=speedup),
        threads=threads,
    )
    settings = PartitionSettings(
        model, inputs, example, weights, weights_seed, batches, measure=measure, wanted=wanted, html=html
    )
    with redirect_stdout(sys.stderr):  # a library may print as it is imported; the JSON is all there is here
        found = look(settings, progress=not for_programs)
    if for_programs:
        click.echo(as_json(settings, found))
    else:
        show(settings, found, everything=everything)
    if html is not None:
        from cans.partition_report import write  # noqa: PLC0415 - loads matplotlib

        write(settings, found, html, command=_asked(click.get_current_context()))
        click.echo(f"{html}: the report on {model}", err=True)
    if not found.survey.exact:
        raise SystemExit(1)


def _asked(context: click.Context) -> str:
    """Return the command line that asks for the same, wherever its settings came from."""
    words = ["cans", "partition"]
    for parameter in context.command.params:
        name = parameter.name or ""
        value = context.params.get(name)
        if context.get_parameter_source(name) in {None, ParameterSource.DEFAULT} or value is None:
            continue
        if not isinstance(parameter, click.Option):
            words.append(str(value))
        elif parameter.is_flag:
            words.append(parameter.opts[0] if value else (parameter.secondary_opts or [""])[0])
        elif parameter.multiple:
            words += [word for each in value for word in (parameter.opts[0], str(each))]
        else:
            values = value if parameter.nargs > 1 else (value,)
            words += [parameter.opts[0], *map(str, values)]
    return shlex.join(word for word in words if word)
