"""The configuration templates in `broker-config/`, from a checkout or from an installed package.

This file must never start anything; it turns a template and a state folder into a configuration.
"""

import os
import string
from pathlib import Path

from bus.errors import ConfigurationError

CONFIGS = ("dev", "secure", "password")


def template_folder() -> Path:
    """Return `broker-config/`: inside the installed package, or beside it in a checkout.

    Raises:
        ConfigurationError: if it is in neither place.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "broker-config", package.parent / "broker-config"):
        if (folder / "common.conf").is_file():
            return folder
    raise ConfigurationError("the folder broker-config is missing: install cans again")


def render(config: str, *, host: str, port: int, state_dir: Path) -> str:
    """Return a mosquitto configuration.

    Args:
        config: one of `CONFIGS`.
        host: address to listen on.
        port: port to listen on; mosquitto knows no "any free port".
        state_dir: where the broker keeps messages, certificates and ACL.

    Raises:
        ConfigurationError: unknown config, or a folder whose name mosquitto cannot be told.
    """
    if config not in CONFIGS:
        raise ConfigurationError(
            f"there is no broker configuration {config!r}: choose {' or '.join(CONFIGS)}"
        )
    folder = template_folder()
    text = "\n".join((folder / name).read_text() for name in (f"{config}.conf", "common.conf"))
    values = {
        "host": host,
        "port": str(port),
        "state_dir": str(state_dir.resolve()),
        "user_line": "user root" if os.geteuid() == 0 else "",
    }
    if any(not value.isprintable() for value in values.values()):
        raise ConfigurationError(f"the state folder {str(state_dir)!r} has a name that no broker can be told")
    return string.Template(text).substitute(values)
