"""How slow devices are whose experiment says it in milliseconds, whatever machine has measured."""

import msgspec

from lab.network_table import NetworkTable
from lab.simulator import spec


def with_slowness(world: spec.Site, table: NetworkTable) -> spec.Site:
    """Return the world with the slowness of whoever says what the whole network takes it.

    Args:
        world: its types say either.
        table: of the network, from the machine that slowness is a multiple of; the last arm is device-only.
    """
    whole_ms = table.head_ms[-1]
    types = [
        msgspec.structs.replace(kind, slowness=kind.whole_ms / whole_ms)
        if kind.whole_ms is not None
        else kind
        for kind in world.types
    ]
    edge = world.edge_slowness if world.edge_whole_ms is None else world.edge_whole_ms / whole_ms
    return msgspec.structs.replace(world, types=types, edge_slowness=edge)
