"""What a device's CPU quota really does, as a testbed measures it before it plays."""

from collections.abc import Mapping
from typing import Any

import msgspec

NEAR = 0.03
"""Share by which a mean may be off."""


class QuotaChecked(msgspec.Struct, frozen=True, kw_only=True):
    """The quota of one device type.

    Attributes:
        wanted_ms: what the whole network should take. whole_ms: what it takes on average.
        slowness: the device gets 1 / slowness of a processor.
    """

    wanted_ms: float
    whole_ms: float
    slowness: float

    @property
    def off(self) -> float:
        """By what share it takes longer (or less, where negative) than it should."""
        return self.whole_ms / self.wanted_ms - 1.0

    @property
    def as_set(self) -> bool:
        """Whether that is little enough."""
        return abs(self.off) <= NEAR


def quotas_told(report: Mapping[str, Any]) -> dict[str, QuotaChecked]:
    """Return what a testbed's summary holds of them, by type; nothing in those of older versions."""
    return msgspec.convert(report.get("quotas", {}), dict[str, QuotaChecked])
