"""Options that several commands share: where the broker is, and how to log."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from bus.address import BrokerAddress, parse_broker
from bus.errors import ConfigurationError
from bus.topics import DEFAULT_PREFIX
from cans.settings import PASSWORD_VARIABLE

F = TypeVar("F", bound=Callable[..., Any])
_FILE = click.Path(dir_okay=False, path_type=Path)


def broker_options(function: F) -> F:
    """Add --broker, --ca, --cert, --key, --password-file and --prefix."""
    return connection_options(
        click.option(
            "--prefix",
            default=DEFAULT_PREFIX,
            envvar="CANS_BROKER_PREFIX",
            help="First levels of every topic; the same for everyone on one bus.",
        )(function)
    )


def connection_options(function: F) -> F:
    """Add what `broker_options` does, but for --prefix."""
    for option in reversed(
        (
            click.option(
                "--broker",
                default="mqtt://127.0.0.1:1883",
                envvar="CANS_BROKER",
                metavar="URL",
                help="The broker: mqtt://[user@]host[:port], or mqtts:// for TLS. A password never belongs "
                f"in the URL: set {PASSWORD_VARIABLE}.",
            ),
            click.option(
                "--ca",
                type=_FILE,
                envvar="CANS_BROKER_CA",
                help="PEM file the broker's certificate is checked against; the system's when not given.",
            ),
            click.option(
                "--cert", type=_FILE, envvar="CANS_BROKER_CERT", help="PEM file of this client's certificate."
            ),
            click.option("--key", type=_FILE, envvar="CANS_BROKER_KEY", help="PEM file of its key."),
            click.option(
                "--password-file",
                type=_FILE,
                envvar="CANS_BROKER_PASSWORD_FILE",
                help="File whose first line is the password of the user in the URL.",
            ),
        )
    ):
        function = option(function)
    return function


def backend_option(function: F) -> F:
    """Add --backend."""
    return click.option(
        "--backend",
        default="eager",
        metavar="NAME[,NAME]",
        help="What may run the network: auto measures folded and channels-last at the start and keeps, piece "
        "by piece, what is faster than eager. Or name some of folded, channels-last, compiled, onnx and "
        "quantised. All but eager round differently in the last digits; quantised loses more.",
    )(function)


def default_models_dir() -> Path:
    """Return where a person's data lies by the XDG base directory specification."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "cans" / "models"


def models_dir_option(*, home: bool = False, help_: str = "Folder of models by hash.") -> Callable[[F], F]:
    """Return --models-dir, which every command that has it shares: CANS_MODELS_DIR, [models] models-dir.

    Args:
        home: the person's own folder is the default; else there is none.
        help_: what the command does with it.
    """
    return click.option(
        "--models-dir",
        type=click.Path(file_okay=False, path_type=Path),
        envvar="CANS_MODELS_DIR",
        default=default_models_dir if home else None,
        show_default="~/.local/share/cans/models" if home else False,
        help=help_,
    )


def log_options(function: F) -> F:
    """Add --log-format and --log-level."""
    for option in (
        click.option(
            "--log-level",
            type=click.Choice(["debug", "info", "warning", "error"]),
            default="info",
            envvar="CANS_LOG_LEVEL",
            help="Least severe line to log, on standard error.",
        ),
        click.option(
            "--log-format",
            type=click.Choice(["text", "json"]),
            default="text",
            envvar="CANS_LOG_FORMAT",
            help="Log lines for people, or one JSON object a line.",
        ),
    ):
        function = option(function)
    return function


def broker_address(
    broker: str,
    *,
    ca: Path | None = None,
    cert: Path | None = None,
    key: Path | None = None,
    password_file: Path | None = None,
) -> BrokerAddress:
    """Make the address of what the options above say.

    Raises:
        ConfigurationError: with what to write instead.
    """
    password = os.environ.get(PASSWORD_VARIABLE)
    if password_file is not None:
        try:
            password = password_file.read_text(encoding="utf-8").partition("\n")[0]
        except (OSError, UnicodeDecodeError):
            raise ConfigurationError(
                f"cannot read the password file {password_file}: give an existing text file"
            ) from None
    return parse_broker(broker, password=password, ca=ca, certificate=cert, key=key)
