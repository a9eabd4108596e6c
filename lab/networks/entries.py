"""The networks of the trial, as `networks.toml` names them. Data only: nothing here imports a library."""

from functools import cache
from importlib import metadata
from pathlib import Path

import msgspec

TABLE = Path(__file__).parent / "networks.toml"


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One network.

    Attributes:
        id: what the table calls it.
        library: the distribution that has it, as pip names it.
        family: what kind of network.
        model: as `cans partition` takes it.
        inputs: as `cans partition --input` takes them, one each.
    """

    id: str
    library: str
    family: str
    model: str
    inputs: tuple[str, ...]

    @property
    def version(self) -> str | None:
        """The version of the library that is installed here, or None."""
        try:
            return metadata.version(self.library)
        except metadata.PackageNotFoundError:
            return None


class _Table(msgspec.Struct, forbid_unknown_fields=True):
    network: tuple[Entry, ...]


@cache
def entries(path: Path = TABLE) -> tuple[Entry, ...]:
    """Return all entries, in the order of the file.

    Raises:
        ValueError: no such table, or two entries of one id.
    """
    found = msgspec.toml.decode(path.read_bytes(), type=_Table).network
    ids = [each.id for each in found]
    double = {each for each in ids if ids.count(each) > 1}
    if double:
        raise ValueError(f"{path.name} has several networks called {', '.join(sorted(double))}")
    return found
