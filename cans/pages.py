"""What pages of several commands have in common: how they are filled in, and how a file is written."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from bus.errors import ConfigurationError


def environment(**filters: Callable[..., Any]) -> Environment:
    """Return this package's templates: what comes from elsewhere is escaped, what is missing fails."""
    made = Environment(
        loader=PackageLoader("cans", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(filters)
    return made


def write_whole(path: Path, text: str) -> None:
    """Write a file whole or not at all; what was there before stays until then.

    Raises:
        ConfigurationError: it cannot be written there.
    """
    beside = path.with_name(f"{path.name}.new")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        with suppress(OSError):
            beside.unlink()
        raise ConfigurationError(f"cannot write {path}: {error.strerror}") from None
