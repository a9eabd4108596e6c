"""`cans partition`."""

import sys
from contextlib import redirect_stdout
from pathlib import Path

import click

from cans.settings import Command


@click.command("partition", cls=Command)
@click.argument("model", metavar="MODEL")
@click.option(
    "--input",
    "inputs",
    multiple=True,
    metavar="[NAME=]SHAPE[:DTYPE][<BOUND]",
    help="What it is called with, once an input, e.g. 1x3x224x224 or input_ids=1x16:int64<30000.",
)
@click.option(
    "--example",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Inputs from a file instead: .npy, .npz, .safetensors, .pt with tensors only, or an image.",
)
@click.option("--weights", type=click.Path(dir_okay=False, path_type=Path), help="A state dictionary.")
@click.option("--weights-seed", type=int, default=0, help="Of weights that are drawn.")
@click.option("--batches", default="1,8", help="Batch sizes to check each cut with.")
@click.option("--all", "everything", is_flag=True, help="List every place, not only the useful ones.")
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
    for_programs: bool,
) -> None:
    """Show where a network can be cut, and what crosses there.

    MODEL is a built-in network (mobilenet_v2, resnet18), module:callable for anything that returns a
    torch.nn.Module, with arguments as JSON if it needs some, or an archive of torch.export.save (.pt2).

    At a cut, head and tail are run one after the other and compared with the whole network, to the bit. A cut
    of a branching network may send several tensors. Useful are the cuts that can be best for some link and
    some edge worker: no earlier one sends less.

    \b
    Examples:
      cans partition mobilenet_v2
      cans partition 'mypackage.models:make({"width": 0.5})' --input 1x3x160x160
      cans partition 'mypackage:tagger' --input input_ids=1x16:int64<30000 --input mask=1x16:bool
      cans partition network.pt2 --json | jq '.cuts[] | select(.useful) | {after, bytes}'

    \b
    Exit codes: 0 every cut is exact, 1 some are not, 2 the network cannot be cut, and why.
    """  # noqa: D301 - \b is click's mark for "do not wrap"
    from cans.partition_view import PartitionSettings, as_json, look, show  # noqa: PLC0415 - see cans/commands/__init__.py

    settings = PartitionSettings(model, inputs, example, weights, weights_seed, batches)
    with redirect_stdout(sys.stderr):  # a library may print as it is imported; the JSON is all there is here
        found = look(settings, progress=not for_programs)
    if for_programs:
        click.echo(as_json(settings, found))
    else:
        show(settings, found, everything=everything)
    if not found.survey.exact:
        raise SystemExit(1)
