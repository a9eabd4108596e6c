"""Which requests were seen lately, so that a doubled message is never run twice.

Bounded both ways, so that neither a fast device nor many devices can push out what others need: the last
ids of each of the devices heard last. What fell out may be run again; QoS 0 doubles arrive within
milliseconds, far inside the bound. Devices do not ask twice, so a double is ignored, not answered again.
"""

from collections import OrderedDict


class Recent:
    """Request ids by device.

    Args:
        devices: devices remembered, the one heard longest ago goes first.
        ids: ids remembered of each, the oldest goes first.
    """

    def __init__(self, devices: int = 256, ids: int = 64) -> None:
        self._devices = devices
        self._ids = ids
        self._seen: OrderedDict[str, OrderedDict[str, None]] = OrderedDict()

    def add(self, device: str, request_id: str) -> bool:
        """Remember a request; return False if it was there already."""
        ids = self._seen.setdefault(device, OrderedDict())
        self._seen.move_to_end(device)
        if request_id in ids:
            return False
        ids[request_id] = None
        if len(ids) > self._ids:
            ids.popitem(last=False)
        if len(self._seen) > self._devices:
            self._seen.popitem(last=False)
        return True

    def __len__(self) -> int:
        return sum(map(len, self._seen.values()))

    def check(self) -> None:
        """Assert both bounds."""
        assert len(self._seen) <= self._devices
        assert all(len(ids) <= self._ids for ids in self._seen.values())
