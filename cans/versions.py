"""Versions of everything a report depends on, without importing any of it."""

import platform
import re
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from pathlib import Path

from cans.version import __version__

_PACKAGES = ("torch", "numpy", "msgspec", "msgpack", "aiomqtt", "paho-mqtt", "amqtt", "uvloop")


def versions() -> dict[str, str]:
    """Return name to version; "-" for what is not there."""
    found = {"cans": __version__, "python": platform.python_version(), "machine": platform.machine()}
    for package in _PACKAGES:
        try:
            found[package] = installed(package)
        except PackageNotFoundError:
            found[package] = "-"
    found["mosquitto"] = _mosquitto()
    return found


def _mosquitto() -> str:
    """What the broker on this machine says of itself; Debian keeps it outside a user's PATH."""
    program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        return "-"
    asked = subprocess.run([program, "-h"], capture_output=True, text=True, timeout=10, check=False)  # noqa: S603 - a path we found ourselves
    match = re.search(r"version (\S+)", asked.stdout)
    return match[1] if match else "unknown"


def commit_of(folder: Path) -> str:
    """Return which commit a folder of sources is of, "-dirty" behind it where files differ; "" where none is.

    A folder that is installed inside somebody else's working tree is of no commit.
    """
    program = shutil.which("git")
    if program is None:
        return ""

    def said(*arguments: str) -> str:
        asked = subprocess.run(  # noqa: S603 - a path we found ourselves
            [program, "-C", str(folder), *arguments], capture_output=True, text=True, timeout=30, check=False
        )
        return asked.stdout.strip() if asked.returncode == 0 else ""

    if not said("ls-files", "--", "."):
        return ""
    return said("describe", "--always", "--abbrev=12", "--dirty", "--exclude=*")
