"""When each group's newest version was first seen, as text for people. No decision is made of it.

The wall clock jumps and no two machines agree on it, so nobody may compare what this file returns.
"""

from datetime import UTC, datetime

from aggregator.keys import GroupKey


class Changes:
    """The newest version of each group, and since when."""

    def __init__(self) -> None:
        self._since: dict[GroupKey, tuple[int, str]] = {}

    def since(self, key: GroupKey, version: int, now_s: float) -> str:
        """Return since when a group has this version: `now_s` (seconds of the epoch) if it is a new one."""
        known = self._since.get(key)
        if known is None or known[0] != version:
            known = (version, written(now_s))
            self._since[key] = known
        return known[1]


def written(now_s: float) -> str:
    """Return seconds of the epoch as ISO 8601, UTC, whole seconds."""
    return datetime.fromtimestamp(now_s, UTC).isoformat(timespec="seconds")
