"""`cans doctor`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cans.settings import Command, CommandWithParts, part_named
from cans.shared_options import broker_address, broker_options

if TYPE_CHECKING:
    from cans.doctors.findings import Finding

_MOSQUITTO = Path("/etc/mosquitto/mosquitto.conf")
_EPILOG = "Exit codes: 0 it works here, 1 something that is needed is missing, 130 Ctrl-C."
_READ = "Exit codes: 0 it was read, whatever was found, 2 it cannot be read, 130 Ctrl-C."
_JSON = click.option("--json", "for_programs", is_flag=True, help="One JSON object, for programs.")


@click.group("doctor", cls=CommandWithParts, epilog=_EPILOG)
@_JSON
@click.pass_context
def doctor(ctx: click.Context, *, for_programs: bool) -> None:
    """Say what works, what is missing for the rest, and how to mend it.

    \b
    Examples:
      cans doctor                                    this machine, for cans testbed and for computing
      cans doctor bus --broker mqtt://broker.local   a site, as it can be seen from its broker
      cans doctor broker                             the configuration of this machine's mosquitto
      cans doctor testbed --json
    """  # noqa: D301 - \b is click's mark for "do not wrap"
    if not part_named(ctx):
        from cans.doctors import machine, testbed  # noqa: PLC0415 - see cans/commands/__init__.py

        _say([*testbed.examine(), *machine.examine()], _portable(), for_programs=for_programs)


@doctor.command("testbed", cls=Command, epilog=_EPILOG)
@_JSON
def testbed(*, for_programs: bool) -> None:
    """Say which modes of `cans testbed` work here: portable, and netns.

    What can be tried is tried: as root a shaped link is laid and removed again, and a cgroup with a CPU
    quota. Exit code 0 means that portable works.
    """
    from cans.doctors.testbed import examine  # noqa: PLC0415

    _say(examine(), _portable(), for_programs=for_programs)


@doctor.command("machine", cls=Command, epilog=_EPILOG)
@_JSON
def machine(*, for_programs: bool) -> None:
    """Say what makes this machine slower than it is, or its times untrue."""
    from cans.doctors.machine import examine  # noqa: PLC0415

    _say(examine(), "", for_programs=for_programs)


@doctor.command("broker", cls=Command, epilog=_READ)
@click.argument(
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    default=_MOSQUITTO,
)
@_JSON
def broker(*, file: Path, for_programs: bool) -> None:
    """Say what a mosquitto configuration would lose, hold back or let in.

    How often it saves what is retained and queued, what a slow subscriber may cost it, packets too large for
    it, who reaches it and what he may do there. FILE, /etc/mosquitto/mosquitto.conf if not given, is read
    with the folders that it includes; the broker is not asked, and need not run.
    """
    from cans.doctors.broker_config import examine  # noqa: PLC0415

    _say(examine(file), "", for_programs=for_programs)


@doctor.command("bus", cls=Command, epilog=_EPILOG)
@click.option(
    "--seconds", type=click.FloatRange(min=0.1), default=3.0, help="Listen so long before anything is said."
)
@_JSON
@broker_options
def bus(
    *,
    seconds: float,
    for_programs: bool,
    prefix: str,
    **broker: Any,  # noqa: ANN401 - the broker options, passed on whole
) -> None:
    """Say what is amiss at a site, as it can be seen from its broker.

    Who is there and who is lost, networks and versions that do not fit together, a broker that holds messages
    back, retained rubbish, a wrong prefix. It only listens, but for a few small messages on a topic of its
    own, by which it sees whether they are held back. Exit code 0 means that a site is there: an edge
    worker, an aggregator and a device.
    """
    from bus.topics import topics_below  # noqa: PLC0415
    from cans.doctors.bus import SITE, diagnose, look  # noqa: PLC0415
    from cans.running import run  # noqa: PLC0415
    from cans.version import __version__  # noqa: PLC0415

    topics_below(prefix)
    address = broker_address(**broker)
    seen = run(lambda: look(address, prefix, seconds))
    if seen is not None:
        _say(diagnose(seen, prefix, __version__), SITE, for_programs=for_programs)


def _portable() -> str:
    from cans.testbed.ground import Portable  # noqa: PLC0415

    return Portable.mode


def _say(findings: "Sequence[Finding]", needed: str, *, for_programs: bool) -> None:
    """Print findings, and end with 1 where what is needed does not work."""
    from rich.console import Console  # noqa: PLC0415

    from cans.doctors.findings import as_json, can, show  # noqa: PLC0415

    if for_programs:
        click.echo(as_json(findings))
    else:
        show(findings, Console(width=None if sys.stdout.isatty() else 150))
    if needed and not can(findings)[needed]:
        raise click.exceptions.Exit(1)
