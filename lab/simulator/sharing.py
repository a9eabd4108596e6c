"""Who is one group."""

from lab.simulator import spec
from lab.simulator.world import World


def groups_of(share: spec.Sharing, world: World) -> list[str]:
    """Return the key of each device's group."""
    devices = range(len(world.types))
    match share:
        case "device":
            return [str(device) for device in devices]
        case "type":
            return list(world.types)
        case "all":
            return [""] * len(devices)
