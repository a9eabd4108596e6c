"""`cans provision`."""

import datetime as dt
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from bus.errors import ConfigurationError
from bus.topics import DEFAULT_PREFIX
from cans.settings import Command, CommandWithParts, part_named

F = TypeVar("F", bound=Callable[..., Any])
_EPILOG = (
    "Settings: flags, then environment.\n\n"
    "Exit codes: 0 done, 1 a certificate is about to end (list), 2 a setting cannot work, 130 Ctrl-C."
)
_SOON_DAYS = 30
# What a bundle is for, where that is no command of the role's own name.
_COMMANDS = {"watcher": "watch", "coordinator": "testbed"}
_WHO = "IDENTITY is device/TYPE/ID, edge/ID, aggregator/ID, watcher/ID or coordinator/ID."


def _state_dir(function: F) -> F:
    return click.option(
        "--state-dir",
        type=click.Path(file_okay=False, path_type=Path),
        required=True,
        envvar="CANS_BROKER_STATE_DIR",
        help="The broker's folder: certificates, revocations, ACL.",
    )(function)


def _url(function: F) -> F:
    return click.option(
        "--broker",
        "url",
        metavar="URL",
        required=True,
        help="Address of the broker as clients use it, mqtts://HOST:PORT: it goes into the bundle.",
    )(function)


def _out(function: F) -> F:
    return click.option(
        "-o",
        "--out",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Tar file to write, which only you can read; ID.tar when not given.",
    )(function)


@click.group("provision", cls=CommandWithParts, epilog=_EPILOG)
@click.pass_context
def provision(ctx: click.Context) -> None:
    """Say who may connect to a secure broker: an authority, certificates, ACL, a bundle for each machine.

    A running `cans broker` takes changes in within two seconds; who is connected with a revoked certificate
    loses his rights then, and can never connect again.

    \b
    Examples:
      cans provision site --state-dir broker --server-name broker.local --identity aggregator/main
      cans broker --mode secure --state-dir broker --host 0.0.0.0 --port 8883
      cans provision add device/pi4/cam-1 --state-dir broker --broker mqtts://broker.local:8883
      cans provision list --state-dir broker
      cans provision renew device/pi4/cam-1 --state-dir broker --broker mqtts://broker.local:8883
      cans provision revoke device/pi4/cam-1 --state-dir broker
    """  # noqa: D301 - \b is click's mark for "do not wrap"
    if not part_named(ctx):
        click.echo(ctx.get_help())


@provision.command("site", cls=Command, epilog=_EPILOG)
@_state_dir
@click.option("--identity", "identities", multiple=True, metavar="ROLE/...", help="Who may connect. Repeat.")
@click.option(
    "--server-name", "server_names", multiple=True, help="Name or address that clients use. Repeat."
)
@click.option("--prefix", help=f"First levels of every topic; {DEFAULT_PREFIX}, or as it was.")
@click.option("--lab-prefix", metavar="PREFIX", help="Let a testbed play below that prefix too.")
def site(
    *,
    state_dir: Path,
    identities: tuple[str, ...],
    server_names: tuple[str, ...],
    prefix: str | None,
    lab_prefix: str | None,
) -> None:
    """Make an authority, the broker's certificate and the ACL, or add what is missing.

    An authority of your own goes into STATE_DIR/ca before: ca.pem, and key.pem with its P-256 key.
    """
    from cans.broker.provisioning import prepare  # noqa: PLC0415 - see cans/commands/__init__.py

    about = prepare(state_dir, identities, server_names, prefix, lab_prefix)
    more = "" if about.prefix == DEFAULT_PREFIX else f" --prefix {about.prefix}"
    more += "" if about.lab_prefix is None else f" --lab-prefix {about.lab_prefix}"
    click.echo(f"{state_dir}: ready for cans broker --mode secure --state-dir {state_dir}{more}")


@provision.command(
    "add", cls=Command, epilog=_EPILOG, help=f"Let IDENTITY connect, and pack its bundle.\n\n{_WHO}"
)
@click.argument("identity")
@_state_dir
@_url
@_out
def add(*, identity: str, state_dir: Path, url: str, out: Path | None) -> None:
    """Let somebody connect."""
    from cans.broker import provisioning  # noqa: PLC0415

    path = _ready(identity, url, out)
    provisioning.add(state_dir, identity)
    _pack(state_dir, identity, url, path)


@provision.command(
    "renew",
    cls=Command,
    epilog=_EPILOG,
    help=f"Give IDENTITY a new key; the old one opens nothing any more.\n\n{_WHO}",
)
@click.argument("identity")
@_state_dir
@_url
@_out
def renew(*, identity: str, state_dir: Path, url: str, out: Path | None) -> None:
    """Give somebody a new key."""
    from cans.broker import provisioning  # noqa: PLC0415

    path = _ready(identity, url, out)
    provisioning.renew(state_dir, identity)
    _pack(state_dir, identity, url, path)


@provision.command(
    "bundle", cls=Command, epilog=_EPILOG, help=f"Pack what IDENTITY needs once more.\n\n{_WHO}"
)
@click.argument("identity")
@_state_dir
@_url
@_out
def bundle(*, identity: str, state_dir: Path, url: str, out: Path | None) -> None:
    """Pack it again."""
    _pack(state_dir, identity, url, _ready(identity, url, out))


@provision.command("revoke", cls=Command, epilog=_EPILOG, help=f"Let IDENTITY connect no more.\n\n{_WHO}")
@click.argument("identity")
@_state_dir
def revoke(*, identity: str, state_dir: Path) -> None:
    """Let somebody connect no more."""
    from cans.broker import provisioning  # noqa: PLC0415

    click.echo(f"{provisioning.revoke(state_dir, identity).name} is revoked")


@provision.command("list", cls=Command, epilog=_EPILOG)
@_state_dir
@click.option("--json", "for_programs", is_flag=True, help="One JSON array, for programs.")
def listed(*, state_dir: Path, for_programs: bool) -> None:
    """Say who may connect, and until when; exit with 1 if a certificate ends within 30 days."""
    from cans.broker.provisioning import issued  # noqa: PLC0415

    now, found = dt.datetime.now(dt.UTC), issued(state_dir)
    if for_programs:
        rows = [{"identity": each.name, "until": each.until.isoformat()} for each in found]
        click.echo(json.dumps(rows, indent=1))
    else:
        for each in found:
            click.echo(f"{each.name:40} until {each.until:%Y-%m-%d}, {each.days(now)} days")
    if any(each.days(now) < _SOON_DAYS for each in found):
        click.echo(f"renew those that end within {_SOON_DAYS} days: cans provision renew", err=True)
        sys.exit(1)


def _ready(name: str, url: str, out: Path | None) -> Path:
    """Return where a bundle goes, once it is known that it can: nothing is changed before."""
    from bus.address import parse_broker  # noqa: PLC0415
    from cans.broker.provisioning import require_room  # noqa: PLC0415

    if not parse_broker(url).tls:
        raise ConfigurationError(f"{url} is not encrypted: a secure broker is at mqtts://HOST:PORT")
    path = out or Path(f"{name.rpartition('/')[2]}.tar")
    require_room(path)
    return path


def _pack(state_dir: Path, name: str, url: str, path: Path) -> None:
    from cans.broker.provisioning import bundle as pack  # noqa: PLC0415

    identity = pack(state_dir, name, url, path)
    role = _COMMANDS.get(identity.role.value, identity.role.value)
    click.echo(
        f"{path}: take it to its machine, and say tar xf {path.name} && cd {identity.id} && cans {role}"
    )
