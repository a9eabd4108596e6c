"""`cans doctor`."""

import sys

import click

from cans.settings import Command, CommandWithParts, part_named

_EPILOG = "Exit codes: 0 it works here, 1 something that is needed is missing, 130 Ctrl-C."
_JSON = click.option("--json", "for_programs", is_flag=True, help="One JSON object, for programs.")


@click.group("doctor", cls=CommandWithParts, epilog=_EPILOG)
@_JSON
@click.pass_context
def doctor(ctx: click.Context, *, for_programs: bool) -> None:
    """Say what this machine can do, what is missing for the rest, and how to mend it.

    \b
    Examples:
      cans doctor
      cans doctor testbed --json
    """  # noqa: D301 - \b is click's mark for "do not wrap"
    if not part_named(ctx):
        _testbed(for_programs=for_programs)


@doctor.command("testbed", cls=Command, epilog=_EPILOG)
@_JSON
def testbed(*, for_programs: bool) -> None:
    """Say which modes of `cans testbed` work here: portable, and netns.

    What can be tried is tried: as root a shaped link is laid and removed again, and a cgroup with a CPU
    quota. Exit code 0 means that portable works.
    """
    _testbed(for_programs=for_programs)


def _testbed(*, for_programs: bool) -> None:
    from rich.console import Console  # noqa: PLC0415 - see cans/commands/__init__.py

    from cans.doctor import as_json, can, show  # noqa: PLC0415
    from cans.doctor_testbed import examine  # noqa: PLC0415
    from cans.testbed.ground import Portable  # noqa: PLC0415

    findings = examine()
    if for_programs:
        click.echo(as_json(findings))
    else:
        show(findings, Console(width=None if sys.stdout.isatty() else 150))
    if not can(findings)[Portable.mode]:
        raise click.exceptions.Exit(1)
