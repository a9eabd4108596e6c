"""Everything that can be set about an aggregator, and the groups of its TOML file."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from aggregator.keys import Grouping
from aggregator.ledger import Limits
from aggregator.session import Periods
from bandits.federation import GuardSettings
from bus.address import BrokerAddress
from bus.errors import ConfigurationError
from bus.names import require_name
from bus.topics import DEFAULT_PREFIX


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregatorSettings:
    """One aggregator.

    Attributes:
        id: its name on the bus.
        broker: where, and how to log in.
        state_dir: where its groups are kept; without it nothing could be acknowledged.
        prefix: of all topics.
        groups: device types of each group; a type that is in none is a group of its own.
        accept_unknown_types: or refuse such types.
        regularisation: lambda of a new group; the devices' must be the same.
        largest_groups, largest_installs: groups held, and devices (installs) of one group.
        device_rows: rows that one device may ever add to a group.
        guard: whether a device whose costs differ from those of its group is kept out of it.
        broadcast_s: shortest time between two broadcasts of a group.
        wait_for_broker: go on trying if the broker cannot be reached at the start, instead of ending.
        metrics_s: time between metrics.
        drain_s: how long a snapshot may still take when told to stop.
        version: of the software, for the retained state.
        detail: said in the retained state.

    Raises:
        ConfigurationError: a value that cannot work, in a sentence.
    """

    id: str
    broker: BrokerAddress
    state_dir: Path
    prefix: str = DEFAULT_PREFIX
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    accept_unknown_types: bool = True
    regularisation: float = 0.1
    largest_groups: int = 64
    largest_installs: int = 1_000
    device_rows: int = 10_000_000
    guard: bool = True
    broadcast_s: float = 0.1
    wait_for_broker: bool = False
    metrics_s: float = 5.0
    drain_s: float = 5.0
    version: str = ""
    detail: str = ""

    def __post_init__(self) -> None:
        """Refuse what would surface only later."""
        require_name(self.id, "aggregator id")
        if not 0.0 < self.regularisation < float("inf"):
            raise ConfigurationError(f"regularisation is {self.regularisation}: give a positive number")
        if not (self.broadcast_s >= 0.0 and self.metrics_s > 0.0 and self.drain_s >= 0.0):
            raise ConfigurationError("the times for broadcasts, metrics and drain must be positive")
        _ = self.limits, self.grouping  # they check their own values

    @property
    def grouping(self) -> Grouping:
        """Device types to groups."""
        return Grouping(self.groups, accept_unknown_types=self.accept_unknown_types)

    @property
    def limits(self) -> Limits:
        """The ledger's bounds."""
        return Limits(
            groups=self.largest_groups,
            installs=self.largest_installs,
            device_rows=self.device_rows,
            regularisation=self.regularisation,
            guard=GuardSettings() if self.guard else None,
        )

    @property
    def periods(self) -> Periods:
        """The session's times."""
        return Periods(broadcast_s=self.broadcast_s, metrics_s=self.metrics_s, drain_s=self.drain_s)


def read_groups(path: Path) -> dict[str, tuple[str, ...]]:
    """Return the groups of a TOML file: `[groups.NAME]` with `types = ["pi4", "pi5"]`.

    Other tables are skipped.

    Raises:
        ConfigurationError: with what to write instead.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8")).get("groups", {})
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}; give an existing file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not TOML: {error}") from None
    groups: dict[str, tuple[str, ...]] = {}
    for name, group in table.items() if isinstance(table, dict) else (("groups", None),):
        types = group.get("types") if isinstance(group, dict) else None
        if not isinstance(types, list) or not all(isinstance(word, str) for word in types):
            raise ConfigurationError(f'{path}: write [groups.{name}] with types = ["TYPE", ...]')
        groups[name] = tuple(types)
    return groups
