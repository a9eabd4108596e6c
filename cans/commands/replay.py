"""`cans replay`."""

import math
import sys
from pathlib import Path
from typing import Any

import click

from cans.moments import Moment
from cans.settings import Command
from cans.shared_options import broker_address, connection_options

PREFIX = "replay"


@click.command("replay", cls=Command)
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--speed", type=click.FloatRange(min=0, min_open=True), default=1.0, help="Times as fast.")
@click.option(
    "--as-fast", is_flag=True, help="One message after the other, as fast as the broker takes them."
)
@click.option("--from", "from_s", type=Moment(), default=0.0, help="Begin there: seconds, M:SS or H:MM:SS.")
@click.option("--to", "to_s", type=Moment(), help="End there; the recording's end when not given.")
@click.option(
    "--topics",
    multiple=True,
    metavar="FILTER",
    help="Only these: an MQTT filter of recorded topics, with or without their prefix; may be repeated.",
)
@click.option("--prefix", "onto", help=f"First levels of the topics played on; {PREFIX} when not given.")
@click.option(
    "--onto-live",
    is_flag=True,
    help="Play on the recorded topics themselves; asks, for a site would take it for real.",
)
@click.option("--yes", is_flag=True, help="With --onto-live: do not ask.")
@click.option("--loop", is_flag=True, help="Begin again at the end, until Ctrl-C.")
@click.option("--pause-at", "pause_at_s", type=Moment(), help="Wait there for Enter.")
@click.option(
    "--keep", is_flag=True, help="Leave retained messages on the broker; else they are removed at the end."
)
@click.option("--quiet", is_flag=True, help="Say nothing while playing.")
@connection_options
def replay(
    file: Path,
    *,
    speed: float,
    as_fast: bool,
    from_s: float,
    to_s: float | None,
    topics: tuple[str, ...],
    onto: str | None,
    onto_live: bool,
    yes: bool,
    loop: bool,
    pause_at_s: float | None,
    keep: bool,
    quiet: bool,
    **broker: Any,  # noqa: ANN401 - the broker options, passed on whole
) -> None:
    """Play FILE, a recording, again on a broker, as far apart as its messages were.

    They go below a prefix of their own, so that nobody takes them for a live site: give it to whoever is to
    see them, as in `cans watch --prefix replay`. What is retained where a part begins (--from) comes first.
    An edge worker with the recorded one's id and that prefix answers replayed activations for real; then
    leave its recorded answers out (--topics), and compare with `cans recording diff`.

    \b
    Examples:
      cans replay site.mcap
      cans replay site.mcap --from 1:30 --to 2:00 --speed 10 --loop
      cans replay site.mcap --as-fast --topics 'infer/#' --topics 'state/device/+'
    """  # noqa: D301 - \b is click's mark for "do not wrap"
    from cans.recording.replay_view import replay_and_tell  # noqa: PLC0415 - see cans/commands/__init__.py
    from cans.recording.replayer import ReplaySettings  # noqa: PLC0415
    from cans.running import run  # noqa: PLC0415

    settings = ReplaySettings(
        broker=broker_address(**broker),
        file=file,
        onto=_onto(file, onto, onto_live=onto_live, yes=yes),
        filters=topics,
        speed=math.inf if as_fast else speed,
        from_s=from_s,
        to_s=math.inf if to_s is None else to_s,
        loop=loop,
        pause_at_s=math.inf if pause_at_s is None else pause_at_s,
        # What a live site retains is its own to remove.
        keep=keep or onto_live,
    )
    if pause_at_s is not None and not sys.stdin.isatty():
        raise click.UsageError("--pause-at waits for Enter: it needs a terminal")
    run(lambda: replay_and_tell(settings, sys.stderr, quiet=quiet))


def _onto(file: Path, onto: str | None, *, onto_live: bool, yes: bool) -> str:
    """Return the prefix to play below; asks before it is the recorded one."""
    from cans.recording.opening import prefix_of  # noqa: PLC0415

    recorded = prefix_of(file)
    if onto_live and onto is not None:
        raise click.UsageError("--onto-live plays on the recorded prefix: leave --prefix out")
    if not onto_live:
        if onto == recorded:
            raise click.UsageError(f"{onto} is the recorded site's own prefix: --onto-live plays there")
        return onto or PREFIX
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("--onto-live asks before it plays: give --yes where nobody can answer")
        click.confirm(f"Play onto {recorded}, where a live site would take it for real?", abort=True)
    return recorded
