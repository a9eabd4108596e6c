"""How slow devices are whose experiment says it in milliseconds, whatever machine has measured."""

import msgspec

from lab.network_table import NetworkTable
from lab.simulator import spec


def with_slowness(world: spec.Site, table: NetworkTable) -> spec.Site:
    """Return the world with the slowness of every type that says `whole_ms`.

    Args:
        world: its types say either.
        table: of the network, from the machine that slowness is a multiple of; the last arm is device-only.
    """
    types = [
        msgspec.structs.replace(kind, slowness=kind.whole_ms / table.head_ms[-1])
        if kind.whole_ms is not None
        else kind
        for kind in world.types
    ]
    return msgspec.structs.replace(world, types=types)
