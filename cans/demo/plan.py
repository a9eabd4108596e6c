"""What the demo runs: device types, links, policies. Numbers only; docs/demo.md says how they were chosen."""

from dataclasses import dataclass
from pathlib import Path

from bus.address import BrokerAddress
from bus.errors import ConfigurationError
from bus.names import require_name
from bus.topics import topics_below
from lab.links import LinkSpec

LEARNER = "fedlinucb_dw"
# As the report names them, and as `cans device` does.
RIVALS = ("device_only", "edge_only_uint8", "edge_only_jpeg", "two_arm")
EDGE_ID, AGGREGATOR_ID = "demo-edge", "demo-aggregator"
# Beyond the slowest arm: the demo shows what arms cost, not what deadlines cut off.
DEADLINE_MS = 5000.0


@dataclass(frozen=True, slots=True)
class DeviceType:
    """An emulated device type.

    Attributes:
        name: on the bus.
        slowness: how many times slower than this machine.
        link: of each device of the type.
        devices: ids.
    """

    name: str
    slowness: float
    link: LinkSpec
    devices: tuple[str, ...]

    def __post_init__(self) -> None:
        for name in (self.name, *self.devices):
            require_name(name, "demo device")


# Chosen with `python -m lab.choose_types`, so that they want different arms by a clear margin.
TYPES = (
    DeviceType("phone", 8.0, LinkSpec(12.0, 20.0, 2.0), ("phone-1", "phone-2")),
    DeviceType("board", 2.5, LinkSpec(4.0, 8.0, 10.0), ("board-1", "board-2")),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoSettings:
    """One demo.

    Attributes:
        model: as for `cans device`.
        frames: for each device and policy.
        seed: of the frames; weights are seeded with 0 always.
        report: JSON file to write, or None.
        figure: PNG file to write.
        logs: folder for the logs of all processes.
        live: draw the live view.
        broker: an own broker, or None for one that the demo starts.
        prefix: first levels of every topic, or None for ones that nobody else has.

    Raises:
        ConfigurationError: a value that cannot work.
    """

    model: str = "mobilenet_v2"
    frames: int
    seed: int
    report: Path | None
    figure: Path
    logs: Path
    live: bool
    broker: BrokerAddress | None = None
    prefix: str | None = None
    types: tuple[DeviceType, ...] = TYPES

    def __post_init__(self) -> None:
        if self.frames < 2:
            raise ConfigurationError(
                "the demo needs --frames 2 or more: half of them teach, half are counted"
            )
        if self.prefix is not None:
            topics_below(self.prefix)
        if self.broker is not None and self.broker.tls:
            raise ConfigurationError(
                "the demo's emulated links carry plain MQTT: give --broker mqtt://..., or none"
            )

    @property
    def devices(self) -> dict[str, DeviceType]:
        """Every device with its type."""
        return {device: kind for kind in self.types for device in kind.devices}
