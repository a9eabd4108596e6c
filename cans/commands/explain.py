"""`cans explain`."""

import sys
from pathlib import Path

import click

from cans.settings import Command


@click.command("explain", cls=Command)
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--frame",
    required=True,
    metavar="ID",
    help="DEVICE:FRAME, or DEVICE:FRAME:POLICY where several play; DEVICE alone is its slowest frame.",
)
@click.option("--json", "for_programs", is_flag=True, help="One JSON object, for programs.")
def explain(file: Path, *, frame: str, for_programs: bool) -> None:
    """Say why a device in FILE, a recording, played the arm that it played at a frame.

    What it expected and how sure it was, which broadcast of its group it had and how old that was, what edge
    workers had said of their queues, where the time went, and what other arms would have taken by what other
    frames took.

    \b
    Examples:
      cans explain site.mcap --frame cam-1         its slowest frame
      cans explain site.mcap --frame cam-1:17
    """  # noqa: D301 - \b is click's mark for "do not wrap"
    from cans.explain import FrameId, tell  # noqa: PLC0415 - see cans/commands/__init__.py
    from cans.explain import explain as look_up  # noqa: PLC0415

    tell(look_up(file, FrameId.parse(frame)), sys.stdout, as_json=for_programs)
